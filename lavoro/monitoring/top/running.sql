-- Tasks that have run for longest. Those of a process beyond its slots, claimed last, have not begun.
select coalesce(r.options->>'task_id', r.id::text), r.name, r.queue, w.node,
    extract(epoch from clock_timestamp() - r.started_at)::float8, r.attempt, r.cancel is not null
from {schema}.running r left join {schema}.worker w on w.id = r.worker_id
order by r.started_at, r.id limit %(shown)s
