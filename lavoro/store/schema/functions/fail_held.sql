-- Ends the task that a barrier holds as FAILURE, because one of its members has failed; returns its end.
-- A process that knows the task calls its handlers. The caller has locked the barrier.
-- A first step before a body that is a group, celery.accumulate, ends with the member's own error, as does the group.
create or replace function {schema}.fail_held(p_barrier uuid, p_index integer, p_ends {schema}.ending[])
returns {schema}.ending[] language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    culprit {schema}.member;
    name text;
    error json;
    own_error json;
    ended {schema}.ending[];
begin
    update {schema}.barrier set ended_at = clock_timestamp() where id = p_barrier;
    select m.* from {schema}.member m where m.barrier = p_barrier and m.index = p_index into culprit;
    name := coalesce(
        (select e.task_id from unnest(p_ends) e where e.id = culprit.task_id limit 1),
        (select f.options->>'task_id' from {schema}.finished f where f.id = culprit.task_id limit 1),
        culprit.task_id::text
    );
    error := json_build_object('exc_type', 'ChordError', 'exc_message', json_build_array(
        'Dependency ' || name || ' raised ' || {schema}.told_error(culprit.state, culprit.result)
    ), 'exc_module', 'lavoro.exceptions');
    if culprit.result_payload is null and json_typeof(culprit.result) = 'object' then
        own_error := culprit.result;
    end if;
    with gone as (
        delete from {schema}.held h
        where h.id = (select b.task_id from {schema}.barrier b where b.id = p_barrier) and h.barrier = p_barrier
        returning h.*, case
            when h.name = 'celery.accumulate' and h.options#>>'{chain,-1,subtask_type}' = 'group'
                then coalesce(own_error, error)
            else error
        end as error
    ), stored as (
        insert into {schema}.finished (
            id, state, queue, priority, attempt, retries, crashes,
            due_at, created_at,
            name, args, kwargs, options, payload,
            result, keys
        )
        select
            g.id, 'FAILURE', g.queue, g.priority, g.attempt, g.retries, g.crashes,
            g.due_at, g.created_at,
            g.name, g.args, g.kwargs, g.options, g.payload,
            g.error, g.keys
        from gone g
    ), freed as materialized (
        select {schema}.free_keys(array_agg(g.id), array_agg(g.keys)) from gone g where g.keys ? 'unique'
    ), told as (
        select count(pg_notify('{prefix}_done', g.id::text))
            + count(pg_notify('{prefix}_wake', 'unhandled:' || g.queue)) as number
        from gone g
    ), unhandled as (
        insert into {schema}.unhandled (id, name) select g.id, g.name from gone g
        on conflict (id) do nothing
    )
    select array_agg(row(g.id, g.options->>'task_id', g.barriers, 'FAILURE', g.error, null, g.options)::{schema}.ending)
    from gone g cross join freed
    where (select number from told) > 0
    into ended;
    return ended;
end $$;

revoke all on function {schema}.fail_held from public;
