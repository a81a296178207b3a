-- Stores a new chord whose members differ only in their ids and arguments: its barrier, its body and its members.
-- This is the short form of store_canvas, in two thirds of the time. Fails if an id is taken, or the barrier exists.
-- `p_options` are those of the members without their end: each has its index. It notifies as insert_tasks does.
create or replace function {schema}.store_chord(
    p_ids uuid[], p_args text[], p_kwargs text[],
    p_name text, p_queue text, p_priority smallint, p_options text,
    p_barrier uuid, p_policy text,
    p_body uuid, p_body_name text, p_body_queue text, p_body_priority smallint,
    p_body_args json, p_body_kwargs json, p_body_options json,
    p_always boolean
) returns void language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    insert into {schema}.barrier (id, task_id, size, remaining, policy)
    values (p_barrier, p_body, cardinality(p_ids), cardinality(p_ids), p_policy);
    insert into {schema}.held (
        id, queue, priority,
        due_at,
        name, args, kwargs, options, barrier
    )
    values (
        p_body, p_body_queue, p_body_priority,
        clock_timestamp(),
        p_body_name, p_body_args, p_body_kwargs, p_body_options, p_barrier
    );
    insert into {schema}.waiting (
        id, queue, priority,
        name, args, kwargs,
        options,
        barriers
    )
    select
        m.id, p_queue, p_priority,
        p_name, m.args::json, m.kwargs::json,
        (p_options || ',"group_index":' || m.number - 1 || '}')::json,
        ('{"' || p_barrier || '":' || m.number - 1 || '}')::jsonb
    from unnest(p_ids, p_args, p_kwargs) with ordinality as m (id, args, kwargs, number);
    if p_always or {schema}.is_awaited('{prefix}_queue:' || p_queue) then
        perform pg_notify('{prefix}_wake', 'due:' || p_priority || ':' || p_queue);
    end if;
end $$;

revoke all on function {schema}.store_chord from public;
