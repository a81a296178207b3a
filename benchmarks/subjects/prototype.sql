-- The three tables that a task moves through, with all columns that a real queue needs, for prototype.py.
create schema prototype;

create table prototype.waiting (
    id uuid primary key,
    queue text not null,
    priority smallint not null default 0,
    due timestamptz not null default clock_timestamp(),
    attempt smallint not null default 0,
    retries smallint not null default 0,
    name text not null,
    args json,
    kwargs json,
    options json,
    created timestamptz not null default now()
);
create index waiting_next on prototype.waiting (queue, priority desc, due);

create table prototype.running (
    id uuid primary key,
    queue text not null,
    priority smallint not null,
    due timestamptz not null,
    attempt smallint not null,
    retries smallint not null,
    name text not null,
    args json,
    kwargs json,
    options json,
    created timestamptz not null,
    worker_id bigint not null,
    started timestamptz not null default clock_timestamp()
);

create table prototype.finished (
    id uuid not null,
    queue text not null,
    priority smallint not null,
    attempt smallint not null,
    retries smallint not null,
    name text not null,
    args json,
    kwargs json,
    options json,
    created timestamptz not null,
    worker_id bigint not null,
    started timestamptz not null,
    finished timestamptz not null default clock_timestamp(),
    state text not null,
    result json,
    traceback text
) partition by list (state);

-- Successes and failures have different retentions, so each kind has its own partitions by time.
create table prototype.succeeded partition of prototype.finished for values in ('SUCCESS')
    partition by range (finished);
create table prototype.failed partition of prototype.finished for values in ('FAILURE')
    partition by range (finished);
create table prototype.succeeded_now partition of prototype.succeeded default;
create table prototype.failed_now partition of prototype.failed default;
create index on prototype.finished (id);
