-- Counts ends of tasks for their barriers; releases or ends the tasks that these hold. Returns how many it released.
-- Called by each statement that moves a task to finished, or deletes it for good.
-- `p_joined`: in a caller's transaction, which may commit late, no task is assigned, and each is notified: see admit.
-- Each of its statements has a snapshot newer than the locks: it sees what others stored before they released them.
create or replace function {schema}.count_members(p_ends {schema}.ending[], p_joined boolean default false)
returns integer language plpgsql strict security definer set search_path = pg_catalog, pg_temp as $$
declare
    ends {schema}.ending[] := p_ends;
    next_ends {schema}.ending[];
    counted record;
    held_by {schema}.barrier;
    blamed integer;
    open uuid[];
    released integer := 0;
begin
    perform {schema}.lock_barriers(array(
        select distinct key.barrier::uuid
        from unnest(ends) e cross join lateral jsonb_object_keys(e.barriers) key (barrier)
    ));
    while ends is not null loop
        perform {schema}.end_steps(ends) where exists (select from unnest(ends) e where e.options is not null);
        next_ends := null;
        open := null;
        for counted in
            with noted as (
                insert into {schema}.member (barrier, index, task_id, state, result, result_payload)
                select m.barrier, m.index, e.id, e.state, e.result, e.result_payload
                from unnest(ends) e
                cross join lateral (
                    select b.key::uuid as barrier, b.value::integer as index
                    from jsonb_each(e.barriers) b where jsonb_typeof(b.value) = 'number'
                    union all
                    select b.key::uuid, s.value::integer
                    from jsonb_each(e.barriers) b cross join lateral jsonb_each(
                        case jsonb_typeof(b.value) when 'object' then b.value end
                    ) s
                ) m
                cross join lateral (select from {schema}.barrier b where b.id = m.barrier offset 0) b
                order by m.barrier, m.index
                on conflict (barrier, index) do nothing
                returning barrier, index, state
            )
            select n.barrier, count(*)::integer as members, min(n.index) filter (where n.state <> 'SUCCESS') as failed
            from noted n group by n.barrier order by n.barrier
        loop
            update {schema}.barrier b set remaining = b.remaining - counted.members
            where b.id = counted.barrier
            returning b.* into held_by;
            continue when held_by.ended_at is not null;
            blamed := case
                when held_by.policy is null then counted.failed --@blame
                when held_by.policy = 'wait' and held_by.remaining <= 0 then (
                    select m.index from {schema}.member m where m.barrier = held_by.id and m.state <> 'SUCCESS'
                    order by m.index limit 1
                )
            end;
            if blamed is not null then
                next_ends := next_ends || {schema}.fail_held(held_by.id, blamed, ends);
            elsif held_by.remaining <= 0 then --@zero
                open := open || held_by.id;
            end if;
        end loop;
        released := released + {schema}.release(open, p_joined);
        ends := next_ends;
    end loop;
    return released;
end $$;

revoke all on function {schema}.count_members from public;
