-- The server's release, the size of the database, its connections, and the oldest snapshot: its age and its session.
select current_setting('server_version'), pg_database_size(current_database()),
    (select count(*) from pg_stat_activity where backend_type = 'client backend'),
    current_setting('max_connections')::int,
    (select extract(epoch from clock_timestamp() - oldest.xact_start)::float8), oldest.pid
from (select 1) one
left join lateral (
    select xact_start, pid from pg_stat_activity
    where datname = current_database() and pid <> pg_backend_pid() and coalesce(backend_xmin, backend_xid) is not null
        and xact_start is not null
    order by xact_start limit 1
) oldest on true
