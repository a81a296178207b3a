-- Sessions that keep all others, also those that only read, from a table of the schema.
select l.pid, coalesce(a.usename, '?'), coalesce(nullif(a.application_name, ''), '?'), coalesce(a.state, '?'),
    extract(epoch from clock_timestamp() - coalesce(a.xact_start, a.state_change))::float8,
    string_agg(distinct c.relname, ', ' order by c.relname)
from pg_locks l
join pg_class c on c.oid = l.relation and c.relnamespace = to_regnamespace('{schema}')::oid and c.relkind in ('r', 'p')
left join pg_stat_activity a on a.pid = l.pid
where l.granted and l.mode = 'AccessExclusiveLock' and l.pid <> pg_backend_pid()
group by 1, 2, 3, 4, 5
order by 5 desc nulls last
