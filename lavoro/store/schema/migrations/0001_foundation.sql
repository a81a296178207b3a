-- The three tables a task walks through, those beside them, the view over all, and enqueue for SQL.

create table {schema}.meta (
    version integer primary key,
    name text not null,
    applied_at timestamptz not null default clock_timestamp()
);

-- Domains, because the server reads CHECK constraints of a table anew for each statement: seven of them cost a single
-- insert 40 us, these 12.
create domain {schema}.nonempty_text as text check (value <> '');
-- So that one more can be counted: a claim that cannot would fail for all tasks beside this one.
create domain {schema}.counter as integer check (value between 0 and 2000000000);
create domain {schema}.small_counter as smallint check (value between 0 and 30000);
create domain {schema}.due_time as timestamptz check (value >= '1970-01-01 00:00+00'); -- where claims begin to look
-- Python's calendar has no others.
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
-- Empty nearly always: what is to be cancelled is asked for every few seconds, however large the table has grown.
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

-- Successes and failures are kept for different times, so each kind has its own range of partitions.
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

-- Tasks that ended without their process, until one that knows them has called their handlers.
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
    end_reason text
);
create index worker_live on {schema}.worker (expires_at) where stopped_at is null;

-- What resting workers have offered to take at once: each row one task, until its time is up. Unlogged: a crash ends all
-- sessions, and with them what was offered. Nothing is lost with an offer, for tasks do not depend on any.
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

-- Where all tables are published for logical replication, rows can be deleted only in tables with a replica identity.
-- These have no primary key. It costs nothing unless wal_level is logical; partitions are given theirs one by one.
alter table {schema}.finished replica identity full;
alter table {schema}.finished_success replica identity full;
alter table {schema}.finished_failure replica identity full;
alter table {schema}.finished_success_rest replica identity full;
alter table {schema}.finished_failure_rest replica identity full;
alter table {schema}.attempt replica identity full;
alter table {schema}.attempt_rest replica identity full;
alter table {schema}.offer replica identity full;

create view {schema}.tasks as
    select id, case when retries > 0 then 'RETRY' else 'PENDING' end as state, 'waiting' as stage, name, queue, priority,
        attempt as attempts, retries, crashes, due_at, created_at, null::timestamptz as started_at, null::timestamptz as finished_at,
        null::bigint as worker_id, args, kwargs, options, null::json as result, null::text as traceback, reason
    from {schema}.waiting
    union all
    select id, coalesce(state, 'STARTED'), 'running', name, queue, priority,
        attempt, retries, crashes, due_at, created_at, started_at, null,
        worker_id, args, kwargs, options, progress, null, cancel
    from {schema}.running
    union all
    select id, state, 'finished', name, queue, priority,
        attempt, retries, crashes, due_at, created_at, started_at, finished_at,
        worker_id, args, kwargs, options, result, traceback, null
    from {schema}.finished;

-- Sends a task from SQL: a trigger, psql, another language. Returns its id; part of the caller's transaction. The caller
-- needs no right on the tables, because it runs as their owner. A two-phase transaction cannot notify: pass wake => false
-- there, and workers find the task when they poll.
create function {schema}.enqueue(
    name text, args json default '[]', kwargs json default '{}', queue text default 'celery', priority integer default 0,
    countdown double precision default 0, eta timestamptz default null, id uuid default gen_random_uuid(),
    wake boolean default true
) returns uuid language sql volatile security definer set search_path = pg_catalog, pg_temp as $$
    insert into {schema}.waiting (id, queue, priority, due_at, name, args, kwargs)
        values (id, queue, priority,
            greatest(coalesce(eta, clock_timestamp() + countdown * interval '1 second'), clock_timestamp()),
            name, args, nullif(kwargs::text, '{}')::json);
    select pg_notify('{prefix}_wake', case when eta is null and countdown <= 0 then 'due:' else 'later:' end
        || priority || ':' || queue) where wake;
    select id;
$$;

-- True if nobody waits for what the key names: a queue's sleeping workers, or callers of results, hold its lock shared.
-- NOTIFY takes a lock on the whole database at commit; statements spare it when this is true.
-- One expression: between two statements a cancel would leave the lock behind. Statements inline it.
create function {schema}.nobody_waits(p_key text) returns boolean language sql volatile as $$
    select case when pg_catalog.pg_try_advisory_lock(pg_catalog.hashtextextended(p_key, 0))
        then pg_catalog.pg_advisory_unlock(pg_catalog.hashtextextended(p_key, 0)) else false end
$$;

-- Stores one task that is due at once. Returns true if no worker sleeps on its queue. Otherwise assigns the task to a worker
-- that has offered a slot, in the same transaction; without an offer it inserts the task as waiting and notifies sleeping
-- workers. Fails if the id is taken.
create function {schema}.assign_task(
    p_id uuid,
    p_queue {schema}.nonempty_text,
    p_priority smallint,
    p_name {schema}.nonempty_text,
    p_args json,
    p_kwargs json,
    p_options json
) returns boolean language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    notified text;
begin
    if {schema}.nobody_waits('{prefix}_queue:' || p_queue) then
        insert into {schema}.waiting (id, queue, priority, name, args, kwargs, options)
        values (p_id, p_queue, p_priority, p_name, p_args, p_kwargs, p_options);
        return true;
    end if;
    -- A caller that lost the answer waits for this lock before it repeats the call: no index of waiting would show the task.
    perform pg_advisory_xact_lock(hashtextextended('{prefix}_call:' || p_id, 0));
    with taken as (
        delete from {schema}.offer o where o.ctid = (
            select ctid from {schema}.offer where queue = p_queue and until > statement_timestamp()
                -- The same conditions as a claim's, and no task of this id may be waiting.
                and not exists (select from {schema}.queue q where q.name = p_queue and q.paused_at is not null)
                and not exists (select from {schema}.revoked r where r.id = p_id)
                and not exists (select from {schema}.waiting w where w.id = p_id)
            -- Newest first: under a held snapshot, used and expired offers remain as dead index entries at the old end.
            order by until desc limit 1 for update skip locked)
        returning o.worker_id
    )
    insert into {schema}.running (id, worker_id, queue, priority, attempt, retries, crashes, due_at, created_at,
        name, args, kwargs, options)
    select p_id, t.worker_id, p_queue, p_priority, 1, 0, 0, clock_timestamp(), clock_timestamp(),
        p_name, p_args, p_kwargs, p_options
    from taken t
    -- The notification has only ids: every user that may connect may listen.
    returning pg_notify('{prefix}_wake', 'assigned:' || running.worker_id || ':' || running.id) into notified;
    if not found then
        insert into {schema}.waiting (id, queue, priority, name, args, kwargs, options)
        values (p_id, p_queue, p_priority, p_name, p_args, p_kwargs, p_options);
        perform pg_notify('{prefix}_wake', 'due:' || p_priority || ':' || p_queue);
    end if;
    return false;
end $$;

-- Retention needs an owner's rights. Workers are none: they have these two functions, which do nothing else.

-- Makes one partition of a table and returns its name; null if rows of its time lie in the default partition already.
create function {schema}.make_partition(p_table text, p_begins timestamptz, p_ends timestamptz)
returns text language plpgsql security definer set search_path = pg_catalog, pg_temp as $body$
declare
    parent regclass := case p_table
        when 'finished_success' then $${schema}.finished_success$$ when 'finished_failure' then $${schema}.finished_failure$$
        when 'attempt' then $${schema}.attempt$$ end;
    suffix text := to_char(p_begins at time zone 'UTC', '_YYYYMMDD"t"HH24MISS');
begin
    if parent is null then
        raise exception '% has no partitions of times', p_table using errcode = 'invalid_parameter_value';
    end if;
    -- Attached, because `create table ... partition of` would lock the whole table.
    -- What is dropped as a whole need not be vacuumed because it grew: that reads all of it once more, and writes.
    execute format('create table %s (like %s including all) with (autovacuum_vacuum_insert_threshold = -1)',
        parent || suffix, parent);
    execute format('alter table %s replica identity full', parent || suffix);
    execute format('alter table %s attach partition %s for values from (%L) to (%L)', parent, parent || suffix,
        p_begins, p_ends);
    return p_table || suffix;
exception when check_violation then
    return null;
end $body$;

-- Drops one such partition.
create function {schema}.drop_partition(p_name text)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp as $body$
declare
    found_one regclass;
begin
    select i.inhrelid::regclass into strict found_one
    from pg_inherits i join pg_class c on c.oid = i.inhrelid
    where c.relname = p_name and pg_get_expr(c.relpartbound, c.oid) <> 'DEFAULT' and i.inhparent in (
        $${schema}.finished_success$$::regclass, $${schema}.finished_failure$$::regclass, $${schema}.attempt$$::regclass);
    execute format('drop table %s', found_one);
end $body$;

-- Rights are given by name: see `lavoro migrate --roles`.
revoke all on function {schema}.enqueue, {schema}.nobody_waits, {schema}.assign_task, {schema}.make_partition,
    {schema}.drop_partition from public;
