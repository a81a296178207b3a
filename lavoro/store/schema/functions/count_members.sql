-- Counts ends of tasks for their barriers; releases or ends the tasks that these hold. Returns how many it released.
-- Called by each statement that moves a task to finished, or deletes it for good.
-- `p_joined`: in a caller's transaction, which may commit late, no task is assigned, and each is notified: see admit.
-- Each of its statements has a snapshot newer than the locks: it sees what others stored before they released them.
create or replace function {schema}.count_members(p_ends {schema}.ending[], p_joined boolean default false)
returns integer language plpgsql strict security definer set search_path = pg_catalog, pg_temp as $$
declare
    ends {schema}.ending[] := p_ends;
    next_ends {schema}.ending[];
    barriers uuid[];
    members integer[];
    failures integer[];
    may_fail boolean;
    places {schema}.member[];
    locked boolean := false;
    counted record;
    left_over integer;
    blamed integer;
    open uuid[];
    released integer := 0;
begin
    while ends is not null loop
        perform {schema}.end_steps(ends) where exists (select from unnest(ends) e where e.options is not null);
        next_ends := null;
        open := null;
        -- Before the locks: this takes most of the time, and those that end members of one barrier do it side by side.
        -- A function that returns a set is called in the list of columns: in FROM it would take three times as long.
        with mark as materialized (
            select m.key::uuid as barrier, m.barriers->m.key as value, m.id, m.state, m.result, m.result_payload
            from (select jsonb_object_keys(e.barriers) as key, e.* from unnest(ends) e) m
        ), known as materialized (
            select b.* from (select distinct m.barrier from mark m) m
            cross join lateral (select b.id, b.policy from {schema}.barrier b where b.id = m.barrier offset 0) b
        ), noted as (
            insert into {schema}.member (barrier, index, task_id, state, result, result_payload)
            select m.barrier, m.index, m.id, m.state, m.result, m.result_payload
            from (
                select m.*, m.value::integer as index from mark m where jsonb_typeof(m.value) = 'number'
                union all
                select m.*, s.value::integer
                from mark m cross join lateral jsonb_each(
                    case jsonb_typeof(m.value) when 'object' then m.value end
                ) s
                where jsonb_typeof(m.value) = 'object'
            ) m
            join known k on k.id = m.barrier
            union all
            -- A task that a barrier holds may end in turn, and another one in its place end now: see places_above.
            select p.* from unnest((
                select {schema}.places_above(array_agg(k.id)) from known k
                where not locked
                    and (k.policy = 'wait' or k.policy is null and (select bool_or(m.state <> 'SUCCESS') from mark m))
            )) p
            order by 1, 2, 4 desc
            on conflict (barrier, index) do nothing
            returning barrier, index, task_id, state
        )
        select
            array_agg(n.barrier), array_agg(n.members), array_agg(n.failed),
            bool_or(n.failed is not null or k.policy is not distinct from 'wait'),
            (
                select array_agg(row(n.barrier, n.index, n.task_id, n.state, null, null)::{schema}.member)
                from noted n where n.state = ''
            )
        from (
            select barrier, count(*)::integer as members, min(index) filter (where state <> 'SUCCESS') as failed
            from noted where state <> '' group by barrier
        ) n
        join known k on k.id = n.barrier
        into barriers, members, failures, may_fail, places;
        if places is not null then
            perform {schema}.leave_places(places);
        end if;
        if may_fail and not locked then
            perform {schema}.lock_barriers(barriers);
            locked := true;
        end if;
        for counted in
            select b.*, n.members, n.failed
            from (
                select * from unnest(barriers, members, failures) n (barrier, members, failed)
                order by n.barrier offset 0
            ) n
            cross join lateral (select * from {schema}.barrier b where b.id = n.barrier for update offset 0) b
        loop
            left_over := counted.remaining - counted.members;
            blamed := case
                when counted.ended_at is not null then null
                when counted.policy is null then counted.failed --@blame
                when counted.policy = 'wait' and left_over <= 0 then (
                    select m.index from {schema}.member m where m.barrier = counted.id and m.state <> 'SUCCESS'
                    order by m.index limit 1
                )
            end;
            if counted.ended_at is null and blamed is null and left_over <= 0 then --@zero
                open := open || counted.id;
                counted.ended_at := clock_timestamp();
            end if;
            update {schema}.barrier set remaining = left_over, ended_at = counted.ended_at where id = counted.id;
            if blamed is not null then
                next_ends := next_ends || {schema}.fail_held(counted.id, blamed, ends);
            end if;
        end loop;
        released := released + {schema}.release(open, p_joined);
        ends := next_ends;
    end loop;
    return released;
end $$;

revoke all on function {schema}.count_members from public;
