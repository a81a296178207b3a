-- Lists this worker's running tasks beyond the known ids: their claim's answer was lost with its connection.
select
    id, name, args::text, kwargs::text, options::text, payload,
    queue, priority, attempt, retries, crashes,
    due_at,
    case when expires_at between '0001-02-01 00:00+00' and '9999-12-01 00:00+00' then expires_at end as expires_at,
    coalesce(expires_at <= statement_timestamp(), false) as expired,
    cancel is not null as revoked
from {schema}.running
where worker_id = %(worker_id)s and not id = any (%(known)s::uuid[])
order by priority desc, due_at
