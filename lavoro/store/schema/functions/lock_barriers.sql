-- Locks these barriers, and those for which the tasks that they hold count in turn, in the order of their ids.
-- An end may fail a held task, whose end is counted, too: all is locked before, so that no two statements deadlock.
create or replace function {schema}.lock_barriers(p_ids uuid[]) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    reached uuid[] := p_ids;
begin
    -- Most held tasks count for no barrier. This look takes a quarter of the time of the recursion.
    if exists (
        select from unnest(p_ids) r (id)
        cross join lateral (select b.task_id from {schema}.barrier b where b.id = r.id offset 0) b
        cross join lateral (
            select from {schema}.held h where h.id = b.task_id and h.barriers is not null offset 0
        ) h
    ) then
        reached := {schema}.barriers_above(p_ids);
    end if;
    perform from {schema}.barrier b where b.id = any (reached) order by b.id for update;
end $$;

revoke all on function {schema}.lock_barriers from public;
