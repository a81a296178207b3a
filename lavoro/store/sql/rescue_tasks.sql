-- Moves all tasks of a worker that has ended back to waiting, or to finished if they may not start again.
-- `suspects`: the tasks that ran when it ended, or had ended just before; null if unknown, and then all are suspects.
-- Only suspects count a crash. Each other start is recorded as lost too, because a claim counts as a start.
-- `by_order`: the worker was told to stop, so its tasks go back unchanged, and their starts do not count.
with lost as (
    delete from {schema}.running
    where ctid = any (array(
        select ctid from {schema}.running where worker_id = %(worker_id)s order by id for update))
    returning *
), decided as materialized (
    select l.*, j.suspect,
        case
            when l.cancel is not null then 'TaskRevokedError'
            when l.id = %(overdue)s::uuid then 'TimeLimitExceeded'
            when %(by_order)s then null
            when l.options->>'acks_late' = 'false' then 'WorkerLostError'
            when j.suspect and l.crashes + 1 >= %(max_crashes)s::int then 'WorkerLostError'
        end as error
    from lost l
    cross join lateral (
        select not %(by_order)s and (%(suspects)s::uuid[] is null or l.id = any (%(suspects)s::uuid[])) as suspect
    ) j
), recorded as materialized (
    -- The recorded reason names up to three suspects.
    select %(reason)s::text || case when %(suspects)s::uuid[] is null or count(*) = 0 then ''
        else '; it had begun ' || string_agg(b.task, ', ') filter (where b.place <= 3)
            || case when count(*) > 3 then ' and ' || count(*) - 3 || ' more' else '' end end as reason
    from (
        select name || '[' || coalesce(options->>'task_id', id::text) || ']' as task,
            row_number() over (order by started_at, id) as place
        from decided where suspect
    ) b
), noted as (
    insert into {schema}.attempt (id, number, worker_id, state, started_at, reason)
    select
        id, attempt, worker_id, 'LOST', started_at,
        (select reason from recorded) --@reason
    from decided
    where error is null and not %(by_order)s --@lost
), ended as (
    insert into {schema}.finished (
        id, state, worker_id, queue, priority, attempt, retries, crashes,
        due_at, created_at, started_at,
        name, args, kwargs, options, payload,
        result, keys
    )
    select
        id, case when error = 'TaskRevokedError' then 'REVOKED' else 'FAILURE' end,
        worker_id, queue, priority, attempt, retries, crashes + suspect::int,
        due_at, created_at, started_at,
        name, args, kwargs, options, payload,
        json_build_object('exc_type', error, 'exc_module', 'lavoro.exceptions', 'exc_message', json_build_array(
            case when error = 'TaskRevokedError' then 'terminated'
            when error = 'TimeLimitExceeded' then %(reason)s
            when options->>'acks_late' = 'false' then b.reason || '; with acks_late=False it starts only once'
            else b.reason || '; it was running at ' || crashes + 1 || ' such ends of a worker (lavoro_max_crashes)'
            end)),
        keys
    from decided cross join recorded b
    where error is not null
    returning id, name, state, options, result
), unhandled as (
    insert into {schema}.unhandled (id, name, cancel)
    select e.id, e.name, d.cancel from ended e join decided d on d.id = e.id
    on conflict (id) do nothing
), requeued as (
    insert into {schema}.waiting (
        id, queue, priority, attempt, retries, crashes,
        due_at, created_at, expires_at,
        name, args, kwargs, options, payload, reason, keys, barriers
    )
    select
        id, queue, priority, attempt - %(by_order)s::int, retries,
        crashes + suspect::int, --@crash
        case
            -- After one crash the suspects start together again. After more, their starts are spread out:
            -- a task that kills its worker must not kill others with it.
            when suspect and crashes > 0 then clock_timestamp() + random() * crashes * interval '5 seconds'
            -- A running task was due: a later time than now means that the clock was set back.
            else least(due_at, clock_timestamp())
        end,
        least(created_at, clock_timestamp()), expires_at,
        name, args, kwargs, options, payload, (select reason from recorded),
        keys,
        barriers --@kept
    from decided
    where error is null --@requeue
    -- A call may have reused the id meanwhile: one of the two tasks is enough.
    on conflict (id) do update set barriers = coalesce(waiting.barriers, '{}') || excluded.barriers
    where excluded.barriers is not null
    returning queue
), woken as (
    select count(pg_notify('{prefix}_wake', 'back:' || q.queue)) from (select distinct queue from requeued) q
), told as (
    select count(pg_notify('{prefix}_done', id::text)) from ended
), counted as (
    select {schema}.count_members(array_agg(row(
        e.id, e.options->>'task_id', d.barriers, e.state, e.result, null, e.options
    )::{schema}.ending))
    from ended e join decided d on d.id = e.id
    where d.barriers is not null or strpos(e.options::text, '"chain"') > 0 --@count
)
select
    (select reason from recorded),
    (select count(*) from requeued),
    array(
        select array[
            name, coalesce(options->>'task_id', id::text), result->>'exc_type', result->'exc_message'->>0
        ] from ended
    ),
    (select * from woken),
    (select * from told),
    (select * from counted),
    {schema}.free_keys(
        (select array_agg(id) from decided where keys is not null and error is not null),
        (select array_agg(keys) from decided where keys is not null and error is not null)
    ),
    -- Last: other claims and ends wait for the limits.
    {schema}.give_slots((select array_agg(keys) from decided where keys is not null), true) --@slots
