-- Adds the tasks that are stored now to the barriers that they name and that were made before: one member more each.
-- Barriers that are made now know their members, but for those without an index, which are added too.
-- One with the index of a member is not added: the first of the two that ends counts, also if the barrier has ended.
-- Returns the messages; a task without an index has got the next one. Fails if a barrier has ended.
create or replace function {schema}.join_barriers(p_messages {schema}.message[], p_created uuid[])
returns {schema}.message[] language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    messages {schema}.message[] := p_messages;
    joined record;
    following integer;
begin
    for joined in
        select key.barrier::uuid as barrier, array_agg(m.place) as places
        from unnest(p_messages) with ordinality m (
            id, queue, priority, attempt, retries, due_at, countdown, expires_at, expires_in, name, args, kwargs,
            options, payload, barriers, inherited, held_for, expects, policy, blockers, ancestors, keys,
            place
        )
        cross join lateral jsonb_each(m.barriers) key (barrier, index)
        where case
            when key.index = 'null' then true
            when key.barrier::uuid = any (p_created) then false
            else not exists (
                select from {schema}.barrier b where b.id = key.barrier::uuid and key.index::integer < b.size --@place
            )
        end
        group by key.barrier
        order by key.barrier
    loop
        update {schema}.barrier set size = size + cardinality(joined.places),
            remaining = remaining + cardinality(joined.places) --@joined
        where id = joined.barrier and ended_at is null
        returning size - cardinality(joined.places) into following;
        if following is null then
            raise exception
                'no task can join the header % (option group_id): it is unknown, or its body has begun or ended',
                joined.barrier
            using errcode = 'invalid_parameter_value';
        end if;
        for place in 1 .. cardinality(joined.places) loop
            if messages[joined.places[place]].barriers->(joined.barrier::text) = 'null' then
                messages[joined.places[place]].barriers := messages[joined.places[place]].barriers
                    || jsonb_build_object(joined.barrier, following);
            end if;
            following := following + 1;
        end loop;
    end loop;
    return messages;
end $$;

revoke all on function {schema}.join_barriers from public;
