-- The three tables that a task moves through, the tables beside them, and the view over all.

create table {schema}.meta (
    version integer primary key,
    name text not null,
    applied_at timestamptz not null default clock_timestamp()
);

-- Domains, because the server reads CHECK constraints of a table anew for each statement: seven of them cost a single
-- insert 40 us, these domains 12 us.
create domain {schema}.nonempty_text as text check (value <> '');
-- Leaves room for one more: an overflow would fail the whole claimed batch.
create domain {schema}.counter as integer check (value between 0 and 2000000000);
create domain {schema}.small_counter as smallint check (value between 0 and 30000);
-- Claims scan from this time on.
create domain {schema}.due_time as timestamptz check (value >= '1970-01-01 00:00+00');
-- Python's calendar ends with the year 9999.
create domain {schema}.past_time as timestamptz check (value between '1970-01-01 00:00+00' and '9999-12-01 00:00+00');

create table {schema}.waiting (
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
    reason text
);
create index waiting_claim on {schema}.waiting (queue, priority desc, due_at);

create table {schema}.running (
    id uuid primary key,
    worker_id bigint not null,
    queue text not null,
    priority smallint not null,
    attempt integer not null,
    retries integer not null,
    crashes smallint not null,
    due_at timestamptz not null,
    created_at timestamptz not null,
    started_at timestamptz not null default clock_timestamp(),
    expires_at timestamptz,
    name text not null,
    args json,
    kwargs json,
    options json,
    payload bytea,
    state text,
    progress json,
    cancel text
);
-- Almost always empty. It keeps the poll for cancelled tasks cheap when `running` is large.
create index running_cancelled on {schema}.running (worker_id) where cancel is not null;

create table {schema}.finished (
    id uuid not null,
    state text not null,
    worker_id bigint,
    queue text not null,
    priority smallint not null,
    attempt integer not null,
    retries integer not null,
    crashes smallint not null,
    runtime real,
    due_at timestamptz not null,
    created_at timestamptz not null,
    started_at timestamptz,
    finished_at timestamptz not null default clock_timestamp(),
    name text not null,
    args json,
    kwargs json,
    options json,
    payload bytea,
    result json,
    result_payload bytea,
    children json,
    traceback text
) partition by list (state);
create index finished_id on {schema}.finished (id);

-- Successes and failures have different retentions, so each kind has its own range of partitions.
create table {schema}.finished_success partition of {schema}.finished
    for values in ('SUCCESS', 'IGNORED') partition by range (finished_at);
create table {schema}.finished_failure partition of {schema}.finished default partition by range (finished_at);
create table {schema}.finished_success_rest partition of {schema}.finished_success default;
create table {schema}.finished_failure_rest partition of {schema}.finished_failure default;

create table {schema}.attempt (
    id uuid not null,
    number integer not null,
    worker_id bigint,
    state text not null,
    started_at timestamptz,
    ended_at timestamptz not null default clock_timestamp(),
    reason text,
    error json,
    traceback text
) partition by range (ended_at);
create index attempt_id on {schema}.attempt (id);
create table {schema}.attempt_rest partition of {schema}.attempt default;

-- Tasks that ended without their process, until another process has called their handlers.
create table {schema}.unhandled (
    id uuid primary key,
    name text not null,
    ended_at timestamptz not null default clock_timestamp(),
    cancel text,
    tries smallint not null default 0,
    worker_id bigint
);

create table {schema}.worker (
    id bigint generated always as identity primary key,
    node text not null,
    process integer not null,
    host text not null,
    pid integer not null,
    pool text not null,
    slots integer not null,
    queues text[] not null,
    release text not null,
    lease interval not null,
    started_at timestamptz not null default clock_timestamp(),
    seen_at timestamptz not null default clock_timestamp(),
    expires_at timestamptz not null,
    stopped_at timestamptz,
    end_reason text,
    -- Whether it claims nothing for the time being, by an order.
    quiet boolean not null default false,
    -- The same as `stopped_at is null`, but it matches no partial index, so a look-up by id uses the primary key.
    -- With `stopped_at is null`, a plan from a quiet time scans worker_live, which grows with each renewal while a
    -- snapshot is held.
    live boolean generated always as (stopped_at is null) stored
);
create index worker_live on {schema}.worker (expires_at) where stopped_at is null;

-- Slots that sleeping workers offer to calls: each row is one task that a worker would take until that time.
-- Unlogged: a crash of the server ends all sessions, and their offers. No task depends on an offer.
create unlogged table {schema}.offer (
    queue text not null,
    until timestamptz not null,
    worker_id bigint not null
);
create index offer_open on {schema}.offer (queue, until);

create table {schema}.leader (
    name text primary key,
    term bigint not null,
    holder text not null,
    until timestamptz not null
);

create table {schema}.queue (
    name text primary key,
    paused_at timestamptz
);

create table {schema}.revoked (
    id uuid primary key,
    revoked_at timestamptz not null default clock_timestamp()
);

-- If a publication holds all tables, rows can be deleted only in tables with a replica identity.
-- These tables have no primary key. It costs nothing unless wal_level is logical; make_partition sets theirs.
alter table {schema}.finished replica identity full;
alter table {schema}.finished_success replica identity full;
alter table {schema}.finished_failure replica identity full;
alter table {schema}.finished_success_rest replica identity full;
alter table {schema}.finished_failure_rest replica identity full;
alter table {schema}.attempt replica identity full;
alter table {schema}.attempt_rest replica identity full;
alter table {schema}.offer replica identity full;

create view {schema}.tasks as
    select
        id, case when retries > 0 then 'RETRY' else 'PENDING' end as state, 'waiting' as stage,
        name, queue, priority, attempt as attempts, retries, crashes,
        due_at, created_at, null::timestamptz as started_at, null::timestamptz as finished_at,
        null::bigint as worker_id, args, kwargs, options, null::json as result, null::text as traceback, reason
    from {schema}.waiting
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
