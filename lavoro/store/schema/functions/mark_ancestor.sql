-- Marks a task as one that a step of its chain follows, which a barrier counts; returns whether the task was found.
-- The task hands the mark on to the next step, until it is that of the blocker.
create or replace function {schema}.mark_ancestor(p_id uuid, p_blocker uuid, p_barrier uuid, p_index integer)
returns boolean language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    mark jsonb := jsonb_build_object(p_barrier, jsonb_build_array(p_index, p_blocker));
begin
    update {schema}.waiting t set barriers = coalesce(t.barriers, '{}') || mark
    where t.id = p_id and strpos(t.options::text, p_blocker::text) > 0;
    if not found then
        update {schema}.running t set barriers = coalesce(t.barriers, '{}') || mark
        where t.id = p_id and strpos(t.options::text, p_blocker::text) > 0;
    end if;
    if not found then
        update {schema}.held t set barriers = coalesce(t.barriers, '{}') || mark
        where t.id = p_id and strpos(t.options::text, p_blocker::text) > 0;
    end if;
    return found;
end $$;

revoke all on function {schema}.mark_ancestor from public;
