-- Sessions with a lock on a table of the schema for which statements of others wait, and for how long they have it.
select b.pid, coalesce(a.usename, '?'), coalesce(nullif(a.application_name, ''), '?'), coalesce(a.state, '?'),
    extract(epoch from clock_timestamp() - coalesce(a.xact_start, a.state_change))::float8,
    count(distinct w.pid), string_agg(distinct c.relname, ', ' order by c.relname)
from pg_locks w
join pg_class c on c.oid = w.relation and c.relnamespace = to_regnamespace('{schema}')::oid
cross join lateral unnest(pg_blocking_pids(w.pid)) b (pid)
left join pg_stat_activity a on a.pid = b.pid
where not w.granted and w.pid <> pg_backend_pid() and w.database = (
    select oid from pg_database where datname = current_database())
    -- The first of a chain: it waits for no other session.
    and cardinality(pg_blocking_pids(b.pid)) = 0
group by 1, 2, 3, 4, 5
order by 5 desc nulls last
