-- Schedules: which task is sent when, and the ticks that were sent or skipped.

create table {schema}.schedule (
    name text primary key check (name <> ''),
    -- Where it is defined: in the code of an application, by app.schedules or the command line, or in SQL.
    origin text not null default 'sql' check (origin in ('code', 'api', 'sql')),
    -- The application whose code defines it.
    app text,
    task text not null check (task <> ''),
    args json check (json_typeof(args) = 'array'),
    kwargs json check (json_typeof(kwargs) = 'object'),
    options json check (json_typeof(options) = 'object'),
    -- Fields of a crontab, or a phrase: '0 9 * * mon-fri', '@daily', '@every 90s', '@at 2027-01-01T00:00:00+00:00'.
    timing text not null check (timing <> ''),
    zone text,
    -- Its times or arguments are Python objects: only a process whose code has the entry can send its task.
    in_code boolean not null default false,
    missed text not null default 'once' check (missed in ('skip', 'once', 'all')),
    -- The most ticks that `all` catches up, and how old they may be, in seconds.
    missed_most integer not null default 100 check (missed_most > 0),
    missed_age double precision check (missed_age > 0),
    overlap text not null default 'skip' check (overlap in ('skip', 'allow', 'queue', 'cancel')),
    jitter double precision not null default 0 check (jitter >= 0),
    starts_at timestamptz,
    ends_at timestamptz,
    most_runs integer check (most_runs > 0),
    paused_at timestamptz,
    defined_at timestamptz not null default clock_timestamp(),
    -- No tick before this time is caught up: the times were defined then, or the pause ended.
    since timestamptz not null default clock_timestamp(),
    -- The time of the next tick: null if none comes, or until a worker has computed it.
    next_at timestamptz,
    -- When a worker has to send it: the same with the jitter, null if none comes, 1970 until it is computed.
    due_at timestamptz default '1970-01-01 00:00+00',
    last_at timestamptz,
    last_task_id uuid,
    runs bigint not null default 0,
    skips bigint not null default 0,
    error text
-- Each tick updates the row: with room in its page, only the index of the due times is written.
) with (fillfactor = 70);
create index schedule_due on {schema}.schedule (due_at) where paused_at is null;

-- A tick exists once, on however many nodes the schedule runs.
create table {schema}.tick (
    schedule text not null,
    due_at timestamptz not null,
    -- Skipped ticks that follow each other are one row: the time of the last, and their number (null: over 1,000).
    until_at timestamptz,
    times integer default 1,
    outcome text not null check (outcome in ('sent', 'skipped', 'failed')),
    late boolean not null default false,
    reason text,
    task_id uuid,
    recorded_at timestamptz not null default clock_timestamp(),
    primary key (schedule, due_at)
);
create index tick_recorded on {schema}.tick (recorded_at);

-- The last runs of the entries of a scheduler class (PersistentScheduler), which one process of all runs.
create table {schema}.scheduler_entry (
    app text not null,
    name text not null,
    last_at timestamptz not null,
    runs bigint not null,
    primary key (app, name)
);

-- The tasks that a process has registered, and whether its node sends those of schedules.
alter table {schema}.worker add column tasks text[] not null default '{}';
alter table {schema}.worker add column runs_schedules boolean not null default false;
-- Each renewal of a lease writes the row anew: many names of tasks are kept outside of it.
alter table {schema}.worker set (toast_tuple_target = 512);

-- Before a schedule is changed: other times are computed anew, and ticks of the former ones are not caught up.
create function {schema}.define_schedule() returns trigger language plpgsql
security definer set search_path = pg_catalog, pg_temp as $$
begin
    if (new.timing, new.zone, new.in_code, new.starts_at, new.ends_at, new.jitter, new.most_runs)
        is distinct from (old.timing, old.zone, old.in_code, old.starts_at, old.ends_at, old.jitter, old.most_runs)
        or (new.paused_at is null and old.paused_at is not null)
    then
        new.since := clock_timestamp();
        new.next_at := null;
        new.due_at := 'epoch';
    end if;
    new.error := null;
    return new;
end $$;

revoke all on function {schema}.define_schedule from public;

create trigger define_schedule before update of
    task, args, kwargs, options, timing, zone, in_code, starts_at, ends_at, jitter, most_runs, paused_at
    on {schema}.schedule for each row execute function {schema}.define_schedule();

-- Tells the workers that schedules have changed.
create function {schema}.tell_schedules() returns trigger language plpgsql
security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform pg_notify('{prefix}_wake', 'schedules:');
    return null;
end $$;

revoke all on function {schema}.tell_schedules from public;

create trigger tell_schedules after insert or delete or update of
    task, timing, zone, in_code, starts_at, ends_at, jitter, most_runs, paused_at
    on {schema}.schedule for each statement execute function {schema}.tell_schedules();
