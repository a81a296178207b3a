-- Keys: limits on tasks that run at the same time or start in a period, and unique tasks.

-- The limits that count this task, each with its terms, and the name that it holds while no other task may have it:
-- {"limits": {"tenant:5": {"running": 1}, "smtp": {"rate": 10, "per": 1, "burst": 1}},
--  "unique": {"key": "invoice:7", "until": "done"}}
alter table {schema}.waiting add column keys jsonb;
alter table {schema}.running add column keys jsonb;
alter table {schema}.held add column keys jsonb;
alter table {schema}.finished add column keys jsonb;

alter type {schema}.message add attribute keys jsonb;

-- A task is held by a barrier or by a limit that has no room for it.
alter table {schema}.held alter column barrier drop not null;
alter table {schema}.held add column limited_by text;
create index held_limited on {schema}.held (limited_by, priority desc, due_at) where limited_by is not null;

create table {schema}.limit_state (
    key text primary key,
    -- Most tasks that run at the same time; null: any number.
    running integer,
    -- Most starts in `per` seconds; null: any number. `burst`: how many of them may start at once.
    rate integer,
    per double precision,
    burst integer,
    -- Whether an operator has set these, so that calls do not change them.
    fixed boolean not null default false,
    paused_until timestamptz,
    -- The number of running tasks that count.
    taken integer not null default 0,
    -- When all starts until now are paid for, at one in each `per / rate` seconds.
    paid_until timestamptz not null default '1970-01-01 00:00+00',
    -- Whether tasks may be held for it.
    holds boolean not null default false,
    used_at timestamptz not null default clock_timestamp()
-- Each batch of claims and ends updates the row: with room in its page, no index is written.
) with (fillfactor = 20);
create index limit_holds on {schema}.limit_state (key) where holds;

-- The name that a task holds while it may not be sent again.
create table {schema}.unique_key (
    key text primary key,
    task_id uuid not null,
    -- `done`, `start` or `time`: until the task has ended, has started, or for a time.
    until text not null,
    expires_at timestamptz,
    created_at timestamptz not null default clock_timestamp()
);
create index unique_key_expires on {schema}.unique_key (expires_at) where expires_at is not null;

create or replace view {schema}.tasks as
    select
        id, case when retries > 0 then 'RETRY' else 'PENDING' end as state, 'waiting' as stage,
        name, queue, priority, attempt as attempts, retries, crashes,
        due_at, created_at, null::timestamptz as started_at, null::timestamptz as finished_at,
        null::bigint as worker_id, args, kwargs, options, null::json as result, null::text as traceback, reason
    from {schema}.waiting
    union all
    select
        id, 'PENDING', 'held',
        name, queue, priority, attempt, retries, crashes,
        due_at, created_at, null, null,
        null, args, kwargs, options, null, null,
        case
            when limited_by is not null then 'waits for the limit ' || limited_by
            else coalesce((
                select 'waits for ' || b.remaining || ' of ' || b.size
                    || case b.size when 1 then ' task' else ' tasks' end
                from {schema}.barrier b where b.id = held.barrier
            ), 'waits for a barrier that does not exist')
        end
    from {schema}.held
    union all
    select
        id, coalesce(state, 'STARTED'), 'running',
        name, queue, priority, attempt, retries, crashes,
        due_at, created_at, started_at, null,
        worker_id, args, kwargs, options, progress, null, cancel
    from {schema}.running
    union all
    select
        id, state, 'finished',
        name, queue, priority, attempt, retries, crashes,
        due_at, created_at, started_at, finished_at,
        worker_id, args, kwargs, options, result, traceback, null
    from {schema}.finished;
