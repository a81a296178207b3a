-- Returns the server's version and the number of schedules that are not paused, for a worker's banner.
select 'PostgreSQL ' || split_part(current_setting('server_version'), ' ', 1),
    (select count(*)::int from {schema}.schedule where paused_at is null)
