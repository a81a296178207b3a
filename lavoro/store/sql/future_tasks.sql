-- Lists the queues and priorities with tasks that a clock set back has put into the future, and by how many seconds.
-- Such a task was due when it was stored. It jumps from lane to lane, because millions of tasks may be due.
with recursive named as (
    (select w.queue from {schema}.waiting w order by w.queue limit 1)
    union all
    select next.* from named
    cross join lateral (
        select w.queue from {schema}.waiting w where w.queue > named.queue order by w.queue limit 1
    ) next
), lane as (
    select first.* from named
    cross join lateral (
        select w.queue, w.priority from {schema}.waiting w where w.queue = named.queue order by w.priority desc limit 1
    ) first
    union all
    select next.* from lane
    cross join lateral (
        select w.queue, w.priority from {schema}.waiting w
        where w.queue = lane.queue and w.priority < lane.priority
        order by w.priority desc limit 1
    ) next
)
select lane.queue, lane.priority, ahead.seconds
from lane cross join lateral (
    select extract(epoch from max(w.created_at) - clock_timestamp())::float8 as seconds from {schema}.waiting w
    where w.queue = lane.queue and w.priority = lane.priority and w.due_at > statement_timestamp()
        and w.created_at > statement_timestamp() and w.due_at <= w.created_at
) ahead
where ahead.seconds is not null
