-- Lists the nodes that live, each with what its heartbeat tells, and the time of the database.
select
    w.node, min(w.host), (array_agg(w.pid order by w.process))[1], min(w.release), bool_or(w.task_events),
    sum(least(w.slots, coalesce(r.number, 0)))::int, extract(epoch from clock_timestamp())::float8
from {schema}.worker w
left join (select worker_id, count(*) as number from {schema}.running group by worker_id) r on r.worker_id = w.id
where w.stopped_at is null and w.expires_at > clock_timestamp()
group by w.node order by w.node
