-- Moves finished tasks back to waiting: a new generation, with the id and the number of starts of the one before.
-- The outcome goes to `attempt`. `states`: the states that may be replayed; null: all but a success.
-- Barriers that have counted the failure of a task count its next end instead; see reopen.
-- A task without its call is left alone, and so is a chord's body whose header has failed: it would gather errors.
with chosen as materialized (
    select f.*
    from (select distinct id from unnest(%(ids)s::uuid[]) x (id)) x
    cross join lateral (
        select f.tableoid as part, f.ctid as tid, f.state, f.finished_at, f.queue, f.name, f.options, f.result
        from {schema}.finished f where f.id = x.id order by f.finished_at desc limit 1
    ) f
    where (f.state = any (%(states)s::text[]) or (%(states)s::text[] is null and f.state <> 'SUCCESS'))
        and f.queue <> '' and f.name <> ''
        and not (strpos(f.options::text, '"gathers"') > 0 and f.result->>'exc_type' is not distinct from 'ChordError')
        -- One index look-up for each id, never a join: a call may have reused the id of a finished task.
        and (select count(*) from {schema}.waiting t where t.id = x.id) = 0
        and (select count(*) from {schema}.running t where t.id = x.id) = 0
        and (select count(*) from {schema}.held t where t.id = x.id) = 0
), gone as (
    delete from {schema}.finished f using chosen c
    where f.id = any (%(ids)s::uuid[]) and f.ctid = c.tid and f.tableoid = c.part
        and f.state = c.state and f.finished_at = c.finished_at  -- so that only the row's own partition is read
    returning f.*
), noted as (
    insert into {schema}.attempt (id, number, worker_id, state, started_at, ended_at, reason, error, traceback)
    select
        id, attempt, worker_id, state, started_at, finished_at, 'replayed',
        case when state <> 'SUCCESS' then result end, traceback
    from gone
), allowed as (
    delete from {schema}.revoked v where v.id = any (array(select id from gone))
), behind as (
    -- The steps behind it in its chain ended with it, without a start: they are to come again.
    delete from {schema}.finished f
    where f.queue = '' and f.id = any (array(
        select s.p_id from gone g cross join lateral {schema}.steps_behind(g.options) s
        where strpos(g.options::text, '"chain"') > 0
    ))
), reopened as materialized (
    select {schema}.reopen(array_agg(id)) as barriers from gone where state <> 'SUCCESS'
), stored as materialized (
    select {schema}.admit(array_agg(row(
        id, queue, priority, attempt, 0, 0,
        clock_timestamp(), least(created_at, clock_timestamp()), null,
        name, args, kwargs, options, payload, 'replayed', (select barriers from reopened)->(id::text),
        nullif(keys - 'unique', '{}')
    )::{schema}.waiting order by id), false, false)
    from gone --@again
    having count(*) > 0
)
select id from gone cross join stored
