-- Returns notes without an outcome for the tasks that these barriers hold, and for those that they count for in turn.
-- Their state is empty. An end that may reach such a task inserts them with its own notes, and deletes them at once.
-- Others who note the same places wait for its transaction, before and not after they have locked a barrier.
create or replace function {schema}.places_above(p_ids uuid[]) returns {schema}.member[]
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    -- Most held tasks count for no barrier: see lock_barriers.
    if not exists (
        select from unnest(p_ids) r (id)
        cross join lateral (select b.task_id from {schema}.barrier b where b.id = r.id offset 0) b
        cross join lateral (
            select from {schema}.held h where h.id = b.task_id and h.barriers is not null offset 0
        ) h
    ) then
        return null;
    end if;
    return array(
        select row(key.barrier::uuid, place.index, h.id, '', null, null)::{schema}.member
        from unnest({schema}.barriers_above(p_ids)) r (id)
        cross join lateral (select b.task_id from {schema}.barrier b where b.id = r.id offset 0) b
        cross join lateral (select h.id, h.barriers from {schema}.held h where h.id = b.task_id offset 0) h
        cross join lateral jsonb_each(h.barriers) key (barrier, value)
        cross join lateral (
            select key.value::integer where jsonb_typeof(key.value) = 'number'
            union all
            select s.value::integer
            from jsonb_each(case jsonb_typeof(key.value) when 'object' then key.value end) s
        ) place (index)
    );
end $$;

revoke all on function {schema}.places_above from public;
