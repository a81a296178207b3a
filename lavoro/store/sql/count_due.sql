-- Counts the due tasks of queues that are not paused, up to `most`.
-- It jumps through the index from lane to lane, and counts at most so many of each.
with recursive lane as (
    select first.* from unnest(%(queues)s::text[]) as wanted (queue)
    cross join lateral (
        select w.queue, w.priority from {schema}.waiting w where w.queue = wanted.queue
        order by w.priority desc limit 1
    ) first
    union all
    select next.* from lane
    cross join lateral (
        select w.queue, w.priority from {schema}.waiting w
        where w.queue = lane.queue and w.priority < lane.priority
        order by w.priority desc limit 1
    ) next
)
select least(coalesce(sum(due.number), 0), %(most)s)::bigint
from lane
cross join lateral (
    select count(*) as number from (
        select from {schema}.waiting w
        where w.queue = lane.queue and w.priority = lane.priority and w.due_at <= clock_timestamp()
        limit %(most)s
    ) w
) due
where not exists (select from {schema}.queue q where q.name = lane.queue and q.paused_at is not null)
