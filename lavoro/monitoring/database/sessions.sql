-- Sessions of this database: who they are, what they do, since when, and which of them wait for a lock of which others.
select pid, coalesce(usename, '?'), coalesce(nullif(application_name, ''), '?'), host(client_addr),
    coalesce(state, '?'), wait_event_type || ': ' || wait_event,
    extract(epoch from clock_timestamp() - coalesce(xact_start, state_change, backend_start))::float8,
    pg_blocking_pids(pid), left(query, 200)
from pg_stat_activity
where datname = current_database() and backend_type = 'client backend' and pid <> pg_backend_pid()
order by cardinality(pg_blocking_pids(pid)) desc, xact_start nulls last, pid
