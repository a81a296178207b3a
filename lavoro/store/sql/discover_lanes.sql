-- Lists the (queue, priority) pairs that have tasks, with the seconds until the first is due.
-- It jumps through the index from lane to lane, and reads one row of each.
with recursive lane as (
    select first.* from unnest(%(queues)s::text[]) as wanted (queue)
    cross join lateral (
        select w.queue, w.priority, w.due_at from {schema}.waiting w where w.queue = wanted.queue
        order by w.priority desc, w.due_at limit 1
    ) first
    union all
    select next.* from lane
    cross join lateral (
        select w.queue, w.priority, w.due_at from {schema}.waiting w
        where w.queue = lane.queue and w.priority < lane.priority
        order by w.priority desc, w.due_at limit 1
    ) next
)
select lane.queue, lane.priority,
    -- Not the difference of the times: up to PostgreSQL 16 it is an error if one of them is infinite.
    greatest(extract(epoch from lane.due_at) - extract(epoch from clock_timestamp()), 0)::float8 as due_in
from lane
where not exists (select from {schema}.queue q where q.name = lane.queue and q.paused_at is not null)
order by lane.priority desc, array_position(%(queues)s::text[], lane.queue)
