-- Gives back the slots of tasks that ended, or went back to their queues; for each, the limit's next task may come.
-- `p_ran`: they ran, and so were counted. A waiting task that is deleted may have come for a slot that is free again.
-- The look for held tasks is a statement of its own: its snapshot is newer than the lock, and shows those that a claim
-- held before it.
create or replace function {schema}.give_slots(p_keys jsonb[], p_ran boolean)
returns void language plpgsql strict security definer set search_path = pg_catalog, pg_temp as $$
declare
    limit_ record;
begin
    for limit_ in
        with freed as materialized (
            -- A function that returns a set is called in the list of columns: in FROM it would take four times as long.
            select t.key, count(*)::integer as number
            from (
                select jsonb_object_keys(k.keys->'limits') as key, k.keys->'limits' as limits
                from unnest(p_keys) k (keys)
            ) t
            where t.limits->t.key ? 'running'
            group by t.key
        ), locked as materialized (
            select f.number, l.key
            from (select f.* from freed f order by f.key offset 0) f
            cross join lateral (
                select l.key from {schema}.limit_state l where l.key = f.key and (p_ran or l.holds) for update offset 0
            ) l
        )
        update {schema}.limit_state l
        set
            taken = greatest(0, l.taken - case when p_ran then f.number else 0 end), --@give
            used_at = clock_timestamp()
        from locked f
        where l.key = f.key
        returning l.key, l.holds, f.number
    loop
        perform {schema}.free_held(limit_.key, limit_.number) where limit_.holds;
    end loop;
end $$;

revoke all on function {schema}.give_slots from public;
