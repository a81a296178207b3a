-- Locks these barriers, and those for which the tasks that they hold count in turn, in the order of their ids.
-- An end may fail a held task, whose end is counted, too: all is locked before, so that no two statements deadlock.
create or replace function {schema}.lock_barriers(p_ids uuid[]) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    reached uuid[] := {schema}.barriers_above(p_ids);
begin
    perform from {schema}.barrier b where b.id = any (reached) order by b.id for update;
end $$;

revoke all on function {schema}.lock_barriers from public;
