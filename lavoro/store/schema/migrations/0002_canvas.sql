-- Canvases: tasks that are held until others have ended, the barriers that hold them, and the members that they count.

-- The barriers that count the end of this task, each with the index of the task in it: {"<barrier>": 3}.
-- {"<id>": 3, ...} counts the ends of the tasks with these ids: the task itself, and later steps of its chain.
alter table {schema}.waiting add column barriers jsonb;
alter table {schema}.running add column barriers jsonb;

-- The first task that goes on instead of a replaced one; the last of them has its id.
alter table {schema}.attempt add column heir uuid;

-- Tasks that may not be claimed yet. No claim reads them.
create table {schema}.held (
    id uuid primary key,
    queue {schema}.nonempty_text not null,
    priority smallint not null default 0,
    attempt {schema}.counter not null default 0,
    retries {schema}.counter not null default 0,
    crashes {schema}.small_counter not null default 0,
    due_at {schema}.due_time not null default clock_timestamp(),
    created_at {schema}.past_time not null default clock_timestamp(),
    expires_at timestamptz,
    name {schema}.nonempty_text not null,
    args json,
    kwargs json,
    options json,
    payload bytea,
    reason text,
    barriers jsonb,
    barrier uuid not null,
    -- Seconds from the release on.
    countdown double precision,
    expires_in double precision
);
create index held_expires on {schema}.held (expires_at) where expires_at is not null;

create table {schema}.barrier (
    id uuid primary key,
    -- The task in `held`.
    task_id uuid not null,
    size integer not null,
    remaining integer not null,
    policy text,
    created_at timestamptz not null default clock_timestamp(),
    -- The task was released, or has ended: the members that end from now on are noted, and release nothing.
    ended_at timestamptz
-- Each batch of ends updates the row: with room in its page, no index is written.
) with (fillfactor = 20);
create index barrier_ended on {schema}.barrier (ended_at) where ended_at is not null;

create table {schema}.member (
    barrier uuid not null,
    index integer not null,
    task_id uuid not null,
    state text not null,
    result json,
    result_payload bytea,
    primary key (barrier, index)
);

-- One task of a canvas on its way into the tables.
create type {schema}.message as (
    id uuid,
    queue text,
    priority smallint,
    attempt integer,
    retries integer,
    due_at timestamptz,
    countdown double precision,
    expires_at timestamptz,
    expires_in double precision,
    name text,
    args json,
    kwargs json,
    options json,
    payload bytea,
    barriers jsonb,
    -- The barriers that it takes over from a task that ends. Those of `barriers` get one member more each.
    inherited jsonb,
    held_for uuid,
    expects integer,
    policy text,
    blockers uuid[],
    -- For blockers that may not be stored yet the earlier steps of their chains: {"<blocker>": ["<nearest>", ...]}.
    ancestors jsonb
);

-- The members of groups whose results were saved, as JSON: the forms that `result_from_tuple` reads.
create table {schema}.saved_group (
    id uuid primary key,
    form json not null,
    saved_at timestamptz not null default clock_timestamp()
);

-- The end of one task that a barrier counts, or that has steps behind it in its chain.
create type {schema}.ending as (
    id uuid,
    task_id text,
    barriers jsonb,
    state text,
    result json,
    result_payload bytea,
    -- Those of a task that no message follows: the steps behind it in its chain end with it.
    options json
);

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
        coalesce((
            select 'waits for ' || b.remaining || ' of ' || b.size || case b.size when 1 then ' task' else ' tasks' end
            from {schema}.barrier b where b.id = held.barrier
        ), 'waits for a barrier that does not exist')
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
