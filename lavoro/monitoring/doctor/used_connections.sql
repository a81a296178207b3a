-- Connections: in use, possible, and needed by the live workers.
select (select count(*) from pg_stat_activity where backend_type = 'client backend'),
    current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
        - coalesce(current_setting('reserved_connections', true)::int, 0),
    (select count(distinct node) * 2 + count(*) * 2 from {schema}.worker
        where stopped_at is null and expires_at > clock_timestamp())
