-- The limit that holds a task: its terms, and some of the running tasks that it counts; without a limit no row.
select
    l.key, l.running, l.taken, l.rate, l.per,
    greatest(0, extract(epoch from l.paused_until - clock_timestamp())) as paused,
    array(
        select coalesce(r.options->>'task_id', r.id::text) from {schema}.running r
        where r.keys->'limits' ? l.key order by r.started_at limit %(most)s
    ) as holders
from {schema}.held h join {schema}.limit_state l on l.key = h.limited_by
where h.id = %(id)s
