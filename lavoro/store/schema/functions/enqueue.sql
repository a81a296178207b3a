-- Sends a task from SQL, in the caller's transaction, and returns its id: for triggers, psql and other languages.
-- It runs as the owner of the tables, so the caller needs no right on them.
-- A two-phase transaction cannot notify: there, pass wake => false, and workers find the task when they poll.
create or replace function {schema}.enqueue(
    name text,
    args json default '[]',
    kwargs json default '{}',
    queue text default 'celery',
    priority integer default 0,
    countdown double precision default 0,
    eta timestamptz default null,
    id uuid default gen_random_uuid(),
    wake boolean default true,
    blockers uuid[] default '{}',
    failure_policy text default 'fail'
) returns uuid language sql volatile security definer set search_path = pg_catalog, pg_temp as $$
    insert into {schema}.waiting (id, queue, priority, due_at, name, args, kwargs)
    select
        id, queue, priority,
        greatest(coalesce(eta, clock_timestamp() + countdown * interval '1 second'), clock_timestamp()),
        name, args, nullif(kwargs::text, '{}')::json
    where coalesce(blockers, '{}') = '{}';
    select pg_notify(
        '{prefix}_wake',
        case when eta is null and countdown <= 0 then 'due:' else 'later:' end || priority || ':' || queue
    ) where wake and coalesce(blockers, '{}') = '{}';
    select {schema}.await_blockers(
        row(
            id, queue, priority, 0, 0,
            eta, countdown, null, null,
            name, args, nullif(kwargs::text, '{}'), null, null,
            null, null,
            id, null, failure_policy, blockers, null, null
        )::{schema}.message,
        wake
    ) where coalesce(blockers, '{}') <> '{}' or failure_policy is distinct from 'fail';
    select id;
$$;

revoke all on function {schema}.enqueue from public;
