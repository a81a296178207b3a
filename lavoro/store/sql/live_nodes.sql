-- Lists the processes of all nodes that live, for `app.control`: a node lives while one of its processes has a lease.
select node, process, pid, pool, slots, queues, tasks, quiet, extract(epoch from clock_timestamp() - started_at)::float8
from {schema}.worker
where stopped_at is null and expires_at > clock_timestamp()
order by node, process
