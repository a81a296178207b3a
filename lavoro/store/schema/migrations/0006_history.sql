-- The history: how many tasks ended in each minute, hour and day, by queue, name and state.

-- Finished tasks in the order of their ends: for the history, for failures since a time, and for lists in this order.
-- No value is null. `nulls first` keeps the index from `order by finished_at desc limit 1`: without statistics the
-- server would search for the last task of one id along the time. `order by finished_at desc nulls last` uses it.
create index finished_ended on {schema}.finished (finished_at nulls first);

create table {schema}.history (
    period text not null check (period in ('minute', 'hour', 'day')),
    -- Its beginning; days are those of UTC.
    bucket timestamptz not null,
    -- The first 200 characters of each, because an index has no room for more.
    queue text not null,
    name text not null,
    state text not null,
    tasks bigint not null,
    retries bigint not null,
    crashes bigint not null,
    -- Seconds, of all tasks together: from the start to the end, and from the due time to the start.
    runtime double precision not null,
    waited double precision not null,
    -- Seconds, of the task that ran longest.
    longest real not null,
    primary key (period, bucket, queue, name, state)
-- An hour and a day are written anew each minute: with room in its page, no index is written.
) with (fillfactor = 70);

-- One row: the minutes before this time are counted. Its lock keeps nodes from counting at the same time.
create table {schema}.history_mark (
    one boolean primary key default true check (one),
    until timestamptz not null
);
-- The tasks of the last day are counted too.
insert into {schema}.history_mark (until)
values (date_bin('1 minute', clock_timestamp(), '2000-01-01 00:00+00') - interval '1 day');
