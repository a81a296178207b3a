-- Start-up functions that run once over all workers of a release.

create table {schema}.startup (
    application text not null,
    release text not null,
    -- The full name of the function.
    name text not null,
    -- The worker that runs it, or has run it. Without its lease, another worker runs it from the beginning.
    worker_id bigint not null,
    started_at timestamptz not null default clock_timestamp(),
    ended_at timestamptz,
    primary key (application, release, name)
);
