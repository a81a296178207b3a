-- Sessions whose transaction keeps vacuum from removing rows, and is older than patience.
select pid, coalesce(usename, '?'), coalesce(nullif(application_name, ''), '?'), state,
    extract(epoch from clock_timestamp() - xact_start)::float8,
    greatest(age(backend_xmin), age(backend_xid))
from pg_stat_activity
where datname = current_database() and backend_type = 'client backend' and pid <> pg_backend_pid()
    and coalesce(backend_xmin, backend_xid) is not null
    and xact_start < clock_timestamp() - %(patience)s::float8 * interval '1 second'
order by xact_start
