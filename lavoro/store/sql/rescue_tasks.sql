-- Takes everything from a worker that is gone: back to waiting, or to finished where it may not start again.
-- `suspects` lists the tasks that ran when it died, null when nobody can know: then all are. Only they count a crash.
-- The others may have run and ended without their outcome being stored, so their start is recorded as lost too.
-- After an `orderly` end the worker had been told to stop: what it still held goes back as it came, uncounted.
with lost as (
    delete from lavoro.running where ctid = any (array(
        select ctid from lavoro.running where worker_id = %(worker_id)s order by id for update)) returning *
), judged as materialized (
    select l.*, j.suspect,
        case
            when l.cancel is not null then 'TaskRevokedError'
            when l.id = %(culprit)s::uuid then 'TimeLimitExceeded'
            when %(orderly)s then null
            when l.options->>'acks_late' = 'false' then 'WorkerLostError'
            when j.suspect and l.crashes + 1 >= %(max_crashes)s::int then 'WorkerLostError'
        end as verdict
    from lost l
    cross join lateral (
        select not %(blameless)s and not %(orderly)s and (%(suspects)s::uuid[] is null or l.id = any (%(suspects)s::uuid[])) as suspect
    ) j
), noted as (
    insert into lavoro.attempt (id, attempt, worker_id, state, started, reason)
    select id, attempt, worker_id, 'LOST', started, %(reason)s from judged where verdict is null and not %(orderly)s
), ended as (
    insert into lavoro.finished (id, state, worker_id, queue, priority, attempt, retries, crashes, due, created, started,
        name, args, kwargs, options, payload, result)
    select id, case when verdict = 'TaskRevokedError' then 'REVOKED' else 'FAILURE' end, worker_id, queue, priority,
        attempt, retries, crashes + suspect::int, due, created, started, name, args, kwargs, options, payload,
        json_build_object('exc_type', verdict, 'exc_module', 'lavoro.errors', 'exc_message', json_build_array(
            case when verdict = 'TaskRevokedError' then 'terminated' when verdict = 'TimeLimitExceeded' then %(reason)s
            when options->>'acks_late' = 'false' then %(reason)s || '; with acks_late=False it starts only once'
            else %(reason)s || '; it was running at ' || crashes + 1 || ' such ends of a worker (lavoro_max_crashes)' end))
    from judged where verdict is not null
    returning id
), back as (
    insert into lavoro.waiting (id, queue, priority, attempt, retries, crashes, due, created, expires, name,
        args, kwargs, options, payload, reason)
    select id, queue, priority, attempt - %(orderly)s::int, retries, crashes + suspect::int,
        -- What crashed together once starts together once more; from the second time on the starts are spread out,
        -- so that the task that kills its worker does not take its neighbours along.
        case when suspect and crashes > 0 then clock_timestamp() + random() * crashes * interval '5 seconds'
            -- What ran was due: if it lies in the future, the clock was set back since.
            else least(due, clock_timestamp()) end,
        least(created, clock_timestamp()), expires, name, args, kwargs, options, payload, %(reason)s
    from judged where verdict is null
    on conflict (id) do nothing  -- it was sent again under the same id meanwhile: one of them is enough
    returning queue
), woken as (
    select count(pg_notify('lavoro_wake', '!' || q.queue)) from (select distinct queue from back) q
), told as (
    select count(pg_notify('lavoro_done', id::text)) from ended
)
select (select count(*) from back), (select count(*) from ended), (select * from woken), (select * from told)
