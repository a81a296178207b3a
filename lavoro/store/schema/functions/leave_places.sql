-- Deletes these notes of held tasks, which this transaction has inserted. Others still wait for its end.
create or replace function {schema}.leave_places(p_places {schema}.member[]) returns void
language sql security definer set search_path = pg_catalog, pg_temp as $$
    delete from {schema}.member m where m.ctid = any (array(
        select m.ctid from unnest(p_places) p
        cross join lateral (
            select m.ctid from {schema}.member m where m.barrier = p.barrier and m.index = p.index offset 0
        ) m
    ))
$$;

revoke all on function {schema}.leave_places from public;
