-- Lists the running tasks that a limit counts, the longest first.
select
    coalesce(r.options->>'task_id', r.id::text), r.name,
    (select w.node from {schema}.worker w where w.id = r.worker_id),
    extract(epoch from clock_timestamp() - r.started_at)::float8
from {schema}.running r
where r.keys->'limits' ? %(key)s::text
order by r.started_at
limit %(most)s
