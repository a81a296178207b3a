-- Counts the tasks that ended in up to `minutes` whole minutes after those that are counted, the last of these again.
-- Each number is set, none is added to: a repeat changes nothing. Only a larger number replaces one, so the deletion of
-- a task lowers none. Returns the span, the number of rows that changed, whether there are more minutes to count, and
-- the seconds until the present minute is over. No span: all is counted. No row: another node counts.
with mark as materialized (
    select until, date_bin('1 minute', clock_timestamp(), '2000-01-01 00:00+00') as minute
    from {schema}.history_mark for update skip locked
), span as materialized (
    -- A mark in the future means that the clock was set back: the minutes that come again are counted again.
    select
        least(until, minute) - interval '1 minute' as begins,
        least(minute, until + %(minutes)s::integer * interval '1 minute') as ends
    from mark where until <> minute
), counted as (
    insert into {schema}.history as h
        (period, bucket, queue, name, state, tasks, retries, crashes, runtime, waited, longest)
    select
        'minute', date_bin('1 minute', f.finished_at, '2000-01-01 00:00+00'),
        left(f.queue, 200), left(f.name, 200), left(f.state, 200),
        count(*), sum(f.retries), sum(f.crashes), coalesce(sum(f.runtime::float8), 0),
        coalesce(sum(greatest(0, extract(epoch from f.started_at - f.due_at)::float8)), 0),
        coalesce(max(f.runtime), 0)
    from {schema}.finished f
    where f.finished_at >= (select begins from span) and f.finished_at < (select ends from span)
        and f.queue <> ''  -- steps of chains that were never sent
    group by 2, 3, 4, 5
    on conflict (period, bucket, queue, name, state) do update set
        tasks = excluded.tasks, retries = excluded.retries, crashes = excluded.crashes,
        runtime = excluded.runtime, waited = excluded.waited, longest = excluded.longest
    where excluded.tasks > h.tasks
    returning 1
), moved as (
    update {schema}.history_mark set until = span.ends from span
)
select
    span.begins, span.ends, (select count(*) from counted), coalesce(span.ends < mark.minute, false),
    extract(epoch from mark.minute + interval '1 minute' - clock_timestamp())::float8
from mark left join span on true
