-- Ends an abandoned session of this database and waits for its end; each row tells whether one has ended.
select pg_terminate_backend(pid, %(wait)s::bigint) from pg_stat_activity
where application_name = %(application)s::text and datname = current_database() and pid <> pg_backend_pid()
    and case when %(pid)s::int is null
        -- Behind a pooler: a statement that runs for longer than its client waits is abandoned.
        then state = 'active'
            and query_start < statement_timestamp() - least(%(patience)s::float8, 1e6) * interval '1 second'
        -- Only a user that may end a session sees its start: all others take it for the same one.
        else pid = %(pid)s::int and coalesce(extract(epoch from backend_start)::text = %(start)s::text, true) end
