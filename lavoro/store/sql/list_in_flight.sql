-- Lists the tasks that live nodes have claimed, and a row without a task for each process that has none.
-- Tasks beyond the slots of a process, claimed last, have not begun.
select
    w.node, r.id, r.name, r.args::text, r.kwargs::text, r.options->>'task_id',
    r.queue, r.priority, r.attempt, w.pid, extract(epoch from r.started_at)::float8,
    row_number() over (partition by r.worker_id order by r.started_at, r.id) <= w.slots as active
from {schema}.worker w left join {schema}.running r on r.worker_id = w.id
where w.stopped_at is null and w.expires_at > clock_timestamp()
order by w.node, r.started_at, r.id
