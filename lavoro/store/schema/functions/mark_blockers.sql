-- Makes tasks members of the barrier that holds another task; returns the ends of those that have ended.
-- One that waits, runs or is held is marked under the lock of its row. An unknown one counts as failed.
-- Fails if one of them waits for the held task in turn.
create or replace function {schema}.mark_blockers(
    p_task uuid,
    p_barrier uuid,
    p_blockers uuid[],
    p_ancestors jsonb
) returns {schema}.ending[] language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    key text := p_barrier;
    left_over uuid[] := p_blockers;
    ancestors jsonb := p_ancestors;
    marked uuid[];
    ended {schema}.ending[];
    above uuid[];
    step record;
begin
    loop
        -- In the order in which a task goes through the tables, each in the order of ids: see finish_tasks.
        with taken as (
            update {schema}.waiting t set barriers = coalesce(t.barriers, '{}') || jsonb_build_object(
                key, coalesce(t.barriers->key, '{}') || jsonb_build_object(t.id, array_position(p_blockers, t.id) - 1)
            )
            where t.ctid = any (array(
                select t.ctid from {schema}.waiting t where t.id = any (left_over) order by t.id for update
            ))
            returning t.id
        )
        select array_agg(id) from taken into marked;
        left_over := array(select id from unnest(left_over) id where id <> all (coalesce(marked, '{}')));
        with taken as (
            update {schema}.running t set barriers = coalesce(t.barriers, '{}') || jsonb_build_object(
                key, coalesce(t.barriers->key, '{}') || jsonb_build_object(t.id, array_position(p_blockers, t.id) - 1)
            )
            where t.ctid = any (array(
                select t.ctid from {schema}.running t where t.id = any (left_over) order by t.id for update
            ))
            returning t.id
        )
        select array_agg(id) from taken into marked;
        left_over := array(select id from unnest(left_over) id where id <> all (coalesce(marked, '{}')));
        with taken as (
            update {schema}.held t set barriers = coalesce(t.barriers, '{}') || jsonb_build_object(
                key, coalesce(t.barriers->key, '{}') || jsonb_build_object(t.id, array_position(p_blockers, t.id) - 1)
            )
            where t.ctid = any (array(
                select t.ctid from {schema}.held t where t.id = any (left_over) order by t.id for update
            ))
            returning t.id
        )
        select array_agg(id) from taken into marked;
        left_over := array(select id from unnest(left_over) id where id <> all (coalesce(marked, '{}')));
        -- A step that is not stored yet: one before it, or one that goes on instead of it, hands the mark on.
        if left_over <> '{}' then
            ancestors := p_ancestors || {schema}.replaced_by(left_over);
        end if;
        for step in
            select s.p_ancestor as id, array_agg(s.p_id) as blockers,
                jsonb_object_agg(s.p_id, array_position(p_blockers, s.p_id) - 1) as marks
            from {schema}.stored_ancestors(left_over, ancestors) s group by s.p_ancestor order by s.p_ancestor
        loop
            if {schema}.mark_ancestor(step.id, p_barrier, step.marks) then
                left_over := array(select id from unnest(left_over) id where id <> all (step.blockers));
            end if;
        end loop;
        -- A task that was on its way from table to table is met in the next round. In one snapshot, it is in one table.
        exit when not exists (
            select from unnest(left_over) w (id)
            cross join lateral (
                select from {schema}.waiting t where t.id = w.id
                union all select from {schema}.running t where t.id = w.id
                union all select from {schema}.held t where t.id = w.id
            ) t
            union all
            select from {schema}.stored_ancestors(left_over, ancestors)
        );
    end loop;
    above := {schema}.barriers_above(array(
        select of.barrier::uuid from {schema}.held h cross join lateral jsonb_object_keys(h.barriers) of (barrier)
        where h.id = p_task
    ));
    if p_barrier = any (above) then
        raise exception 'task % would wait for itself: one of its blockers waits for it', p_task
        using errcode = 'invalid_parameter_value';
    end if;
    select array_agg(row(
        w.id, f.options->>'task_id', jsonb_build_object(p_barrier, array_position(p_blockers, w.id) - 1),
        coalesce(f.state, 'FAILURE'),
        case when f.id is not null then f.result else json_build_object(
            'exc_type', 'LookupError', 'exc_module', 'builtins', 'exc_message', json_build_array(
                'no task of this id is stored: it was never sent, or its result has expired'
            )) end,
        f.result_payload, null
    )::{schema}.ending)
    from unnest(left_over) w (id)
    left join lateral (
        select f.* from {schema}.finished f where f.id = w.id order by f.finished_at desc limit 1
    ) f on true
    into ended;
    return ended;
end $$;

revoke all on function {schema}.mark_blockers from public;
