-- Marks a task whose chain has later steps that a barrier counts; returns whether the task was found.
-- `p_marks` has their ids and indexes. The task hands each mark on to the message that leads to that step.
create or replace function {schema}.mark_ancestor(p_id uuid, p_barrier uuid, p_marks jsonb)
returns boolean language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    key text := p_barrier;
begin
    update {schema}.waiting t
    set barriers = coalesce(t.barriers, '{}')
        || jsonb_build_object(key, coalesce(t.barriers->key, '{}') || p_marks)
    where t.id = p_id;
    if not found then
        update {schema}.running t
        set barriers = coalesce(t.barriers, '{}')
            || jsonb_build_object(key, coalesce(t.barriers->key, '{}') || p_marks) --@merged
        where t.id = p_id;
    end if;
    if not found then
        update {schema}.held t
        set barriers = coalesce(t.barriers, '{}')
            || jsonb_build_object(key, coalesce(t.barriers->key, '{}') || p_marks)
        where t.id = p_id;
    end if;
    return found;
end $$;

revoke all on function {schema}.mark_ancestor from public;
