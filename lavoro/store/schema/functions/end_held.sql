-- Ends held tasks with this outcome, or deletes them for good, and counts their ends; returns their ids.
-- Their barriers hold nothing any more. The barriers are locked before the tasks, as in count_members.
create or replace function {schema}.end_held(
    p_ids uuid[],
    p_state text,
    p_result json,
    p_payload bytea,
    p_stored boolean
) returns uuid[] language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    ends {schema}.ending[];
begin
    perform {schema}.take_places(array(select h.barrier from {schema}.held h where h.id = any (p_ids)));
    perform {schema}.lock_barriers(array(select h.barrier from {schema}.held h where h.id = any (p_ids)));
    with gone as (
        delete from {schema}.held h where h.ctid = any (array(
            select h.ctid from {schema}.held h where h.id = any (p_ids) order by h.id for update
        ))
        returning h.*
    ), left_open as (
        update {schema}.barrier b set ended_at = clock_timestamp()
        where b.id = any (array(select g.barrier from gone g)) and b.ended_at is null
    ), stored as (
        insert into {schema}.finished (
            id, state, queue, priority, attempt, retries, crashes,
            due_at, created_at,
            name, args, kwargs, options, payload,
            result, result_payload, keys
        )
        select
            g.id, p_state, g.queue, g.priority, g.attempt, g.retries, g.crashes,
            g.due_at, g.created_at,
            g.name, g.args, g.kwargs, g.options, g.payload,
            p_result, p_payload, g.keys
        from gone g where p_stored
    ), freed as materialized (
        select {schema}.free_keys(array_agg(g.id), array_agg(g.keys)) from gone g where g.keys ? 'unique'
    )
    select array_agg(row(
        g.id, g.options->>'task_id', g.barriers, p_state, p_result, p_payload,
        case when p_state <> 'SUCCESS' then g.options end
    )::{schema}.ending)
    from gone g cross join freed into ends;
    perform pg_notify('{prefix}_done', e.id::text) from unnest(ends) e where p_stored;
    perform {schema}.count_members(ends); --@held
    return array(select e.id from unnest(ends) e);
end $$;

revoke all on function {schema}.end_held from public;
