-- Lists what this worker holds in running beyond the known ids: claims whose answer was lost with their connection.
select id, name, args::text, kwargs::text, options::text, payload, queue, priority, attempt, retries, crashes,
    due, case when expires between '0001-02-01 00:00+00' and '9999-12-01 00:00+00' then expires end,
    coalesce(expires <= statement_timestamp(), false), cancel is not null
from {schema}.running
where worker_id = %(worker_id)s and not id = any (%(known)s::uuid[])
order by priority desc, due
