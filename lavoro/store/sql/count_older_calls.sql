-- Counts the sessions of that application name whose running statement began before a time.
select count(*) from pg_stat_activity
where application_name = %(application)s::text and datname = current_database() and pid <> pg_backend_pid()
    and state = 'active' and query_start < %(began)s::timestamptz
