-- Waiting tasks by queue: how many are due and how many are for later, up to `most` of each lane, and the first due
-- time.
-- It jumps through the claim index from lane to lane, `lanes` of them at most: a lane is a queue with a priority.
with recursive lane as (
    (select w.queue, w.priority, 1 as number from {schema}.waiting w order by w.queue, w.priority desc limit 1)
    union all
    select next.*, lane.number + 1 from lane
    cross join lateral (
        (
            select w.queue, w.priority from {schema}.waiting w
            where w.queue = lane.queue and w.priority < lane.priority
            order by w.queue, w.priority desc limit 1
        )
        union all
        (
            select w.queue, w.priority from {schema}.waiting w
            where w.queue > lane.queue order by w.queue, w.priority desc limit 1
        )
        limit 1
    ) next
    where lane.number < %(lanes)s
), counted as (
    select lane.queue, ready.tasks as ready, later.tasks as later, first.due_at
    from lane
    cross join lateral (
        select count(*) as tasks from (
            select from {schema}.waiting w
            where w.queue = lane.queue and w.priority = lane.priority and w.due_at <= statement_timestamp()
            limit %(most)s
        ) one
    ) ready
    cross join lateral (
        select count(*) as tasks from (
            select from {schema}.waiting w
            where w.queue = lane.queue and w.priority = lane.priority and w.due_at > statement_timestamp()
            limit %(most)s
        ) one
    ) later
    left join lateral (
        select w.due_at from {schema}.waiting w
        where w.queue = lane.queue and w.priority = lane.priority order by w.due_at limit 1
    ) first on true
), held as (
    select queue, count(*) as tasks from (select queue from {schema}.held limit %(most)s) one group by queue
), running as (
    select queue, count(*) as tasks from {schema}.running group by queue
), waiting as (
    select queue, sum(ready)::bigint as ready, sum(later)::bigint as later, min(due_at) as due_at,
        bool_and(ready < %(most)s and later < %(most)s) as exact
    from counted group by queue
), named as (
    select queue from waiting union select queue from held union select queue from running
    union select name from {schema}.queue where paused_at is not null
    union select unnest(queues) from {schema}.worker where stopped_at is null and expires_at > statement_timestamp()
)
select n.queue, coalesce(w.ready, 0), coalesce(w.later, 0), coalesce(h.tasks, 0), coalesce(r.tasks, 0),
    coalesce(w.exact, true) and coalesce(h.tasks, 0) < %(most)s,
    case when w.due_at <= statement_timestamp() then extract(epoch from statement_timestamp() - w.due_at)::float8 end,
    exists (select from {schema}.queue q where q.name = n.queue and q.paused_at is not null),
    exists (select from {schema}.worker l
        where l.stopped_at is null and l.expires_at > statement_timestamp() and not l.quiet
            and n.queue = any (l.queues))
from named n
left join waiting w on w.queue = n.queue
left join held h on h.queue = n.queue
left join running r on r.queue = n.queue
order by coalesce(w.ready, 0) desc, n.queue limit %(shown)s
