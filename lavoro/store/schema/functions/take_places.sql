-- Has others who note the places of tasks that these barriers hold wait for this transaction: see places_above.
-- The caller has locked no barrier yet. An insert waits also for a note that was inserted and deleted.
create or replace function {schema}.take_places(p_barriers uuid[]) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    taken {schema}.member[];
begin
    with taken as (
        insert into {schema}.member
        select p.* from unnest({schema}.places_above(p_barriers)) p order by p.barrier, p.index
        on conflict (barrier, index) do nothing
        returning *
    )
    select array_agg(t::{schema}.member) from taken t into taken;
    perform {schema}.leave_places(taken);
end $$;

revoke all on function {schema}.take_places from public;
