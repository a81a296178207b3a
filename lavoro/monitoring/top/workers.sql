-- Live processes, each with its slots, its running tasks, and the seconds since its lease was renewed.
select w.id, w.node, w.process, w.pid, w.pool, w.slots,
    (select count(*) from {schema}.running r where r.worker_id = w.id),
    w.quiet, extract(epoch from clock_timestamp() - w.seen_at)::float8, w.queues
from {schema}.worker w
where w.stopped_at is null and w.expires_at > clock_timestamp()
order by w.node, w.process limit %(shown)s
