-- Lists what a monitor has not been told: tasks that wait, run, have ended or failed to end, and events of code.
-- All are of one snapshot. Each kind has at most `most` rows, the oldest first; a row `now` with the time comes last.
-- `known`: the running tasks that the monitor was told of, and whether it was told that they have begun.
-- Of each other kind, rows from a time on are read, without those that were told already. `not in` is one hash table
-- whatever the planner expects; `not exists` may become a loop over all that was told, for each row.
with known as materialized (
    select *
    from unnest(%(known)s::uuid[], %(known_attempts)s::int4[], %(known_begun)s::bool[]) as k (id, attempt, begun)
), told as materialized (
    select * from unnest(%(told)s::uuid[], %(told_numbers)s::int8[]) as t (id, number)
), claimed as materialized (
    select
        r.id, r.attempt, w.node, w.pid,
        -- Tasks beyond the slots of a process, claimed last, have not begun.
        row_number() over (partition by r.worker_id order by r.started_at, r.id) <= w.slots as active
    from {schema}.running r join {schema}.worker w on w.id = r.worker_id
    where w.task_events
), gone as materialized (
    select k.id, k.attempt from known k
    where (k.id, k.attempt) not in (select id, attempt from claimed)
), ended as materialized (
    (
        select f.id, f.finished_at from {schema}.finished f
        where f.finished_at >= to_timestamp(%(ended_since)s::float8) and f.queue <> ''
            and (f.id, (extract(epoch from f.finished_at) * 1000000)::int8) not in (select id, number from told)
        order by f.finished_at, f.id limit %(most)s
    )
    union
    -- Tasks that were seen running: one whose end was committed late is not missed. `offset 0`: one look-up for each.
    select e.* from gone cross join lateral (
        select f.id, f.finished_at from {schema}.finished f
        where f.id = gone.id and f.attempt = gone.attempt offset 0
    ) e
    where (e.id, (extract(epoch from e.finished_at) * 1000000)::int8) not in (select id, number from told)
)
(
    select
        'running' as kind, r.id, r.attempt, extract(epoch from r.started_at)::float8 as at, c.active,
        extract(epoch from r.started_at)::float8 as started, extract(epoch from r.created_at)::float8 as created,
        r.name, case when octet_length(r.args::text) < %(longest)s then r.args::text end as args,
        case when octet_length(r.kwargs::text) < %(longest)s then r.kwargs::text end as kwargs,
        r.options::text as options, r.payload is not null as packed,
        r.queue, r.retries, case when r.due_at > r.created_at + interval '1 ms' then r.due_at end as due,
        r.expires_at as expires, c.node, c.pid,
        null as state, null as result, null as traceback, null::real as runtime
    from claimed c join {schema}.running r on r.id = c.id
    where (c.id, c.attempt) not in (select id, attempt from known where begun)
        and (c.active or (c.id, c.attempt) not in (select id, attempt from known))
    order by r.started_at limit %(most)s
)
union all
select
    'ended', f.id, f.attempt, extract(epoch from f.finished_at)::float8, true,
    extract(epoch from f.started_at)::float8, extract(epoch from f.created_at)::float8,
    f.name, case when octet_length(f.args::text) < %(longest)s then f.args::text end,
    case when octet_length(f.kwargs::text) < %(longest)s then f.kwargs::text end,
    f.options::text, f.payload is not null,
    f.queue, f.retries, case when f.due_at > f.created_at + interval '1 ms' then f.due_at end,
    null, w.node, w.pid,
    f.state, case when octet_length(f.result::text) < %(longest)s and f.result_payload is null then f.result::text
        when f.result_payload is not null then to_json('<' || (f.result #>> '{}') || '>')::text end,
    f.traceback, f.runtime
from ended e
cross join lateral (select * from {schema}.finished f where f.id = e.id and f.finished_at = e.finished_at offset 0) f
left join {schema}.worker w on w.id = f.worker_id
where f.worker_id is null or w.task_events
union all
(
    select
        'attempt', a.id, a.number, extract(epoch from a.ended_at)::float8, true,
        extract(epoch from a.started_at)::float8, extract(epoch from t.created_at)::float8,
        t.name, case when octet_length(t.args) < %(longest)s then t.args end,
        case when octet_length(t.kwargs) < %(longest)s then t.kwargs end, t.options, t.packed,
        t.queue, t.retries, null, null, w.node, w.pid,
        a.state, case when octet_length(a.error::text) < %(longest)s then a.error::text end, a.traceback, null
    from {schema}.attempt a
    join {schema}.worker w on w.id = a.worker_id and w.task_events
    cross join lateral (
        (
            select name, args::text as args, kwargs::text as kwargs, options::text as options,
                payload is not null as packed, queue, retries, created_at
            from {schema}.waiting where id = a.id offset 0
        )
        union all
        (
            select name, args::text, kwargs::text, options::text,
                payload is not null, queue, retries, created_at
            from {schema}.running where id = a.id offset 0
        )
        union all
        (
            select name, args::text, kwargs::text, options::text,
                payload is not null, queue, retries, created_at
            from {schema}.finished where id = a.id offset 0
        )
        limit 1
    ) t
    where a.ended_at >= to_timestamp(%(tried_since)s::float8) and a.state in ('RETRY', 'REJECTED')
        and (a.id, -a.number::int8) not in (select id, number from told)
    order by a.ended_at, a.id limit %(most)s
)
union all
(
    select
        'waiting', w.id, w.attempt, extract(epoch from w.created_at)::float8, false,
        null, extract(epoch from w.created_at)::float8,
        w.name, case when octet_length(w.args::text) < %(longest)s then w.args::text end,
        case when octet_length(w.kwargs::text) < %(longest)s then w.kwargs::text end,
        w.options::text, w.payload is not null,
        w.queue, w.retries, case when w.due_at > w.created_at + interval '1 ms' then w.due_at end,
        w.expires_at, null, null,
        null, null, null, null
    from {schema}.waiting w
    -- Ids begin with the time at which they were made.
    where w.id >= %(sent_from)s::uuid and w.id < %(sent_until)s::uuid
        and (w.id, 0::int8) not in (select id, number from told)
    order by w.id limit %(most)s
)
union all
(
    select
        'event', null, null, extract(epoch from v.sent_at)::float8, null,
        null, null,
        v.type, v.fields::text, null, null, null,
        null, null, null, null, null, null,
        null, v.id::text, null, null
    from {schema}.event v
    where v.sent_at >= to_timestamp(%(events_since)s::float8)
        and ('00000000-0000-0000-0000-000000000000'::uuid, v.id) not in (select id, number from told)
    order by v.sent_at, v.id limit %(most)s
)
union all
select
    'gone', g.id, g.attempt, null, null,
    null, null,
    null, null, null, null, null,
    null, null, null, null, null, null,
    null, null, null, null
from gone g
union all
select
    'now', null, null, extract(epoch from statement_timestamp())::float8, null,
    null, null,
    null, null, null, null, null,
    null, null, null, null, null, null,
    null, null, null, null
