-- Stores the tasks of a canvas: barriers and the tasks that they hold, then all others, then the marks on blockers.
-- A repeat after a lost answer stores none that is in any table; for `p_assign` and `p_always` see admit.
-- A canvas with fixed ids may be sent again: a barrier that has ended begins anew, unless its task still needs results.
create or replace function {schema}.store_messages(
    p_messages {schema}.message[],
    p_repeated boolean,
    p_assign boolean,
    p_always boolean
) returns void language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    messages {schema}.message[] := p_messages;
    taken uuid;
    created uuid[];
    anew uuid[];
    tasks {schema}.waiting[];
    blocked record;
    ends {schema}.ending[];
begin
    if p_repeated then
        select array_agg(m) into messages from unnest(p_messages) m
        where (select count(*) from {schema}.waiting w where w.id = m.id) = 0
            and (select count(*) from {schema}.running r where r.id = m.id) = 0
            and (select count(*) from {schema}.held h where h.id = m.id) = 0
            and (select count(*) from {schema}.finished f where f.id = m.id) = 0;
    end if;
    if messages is null then
        return;
    end if;
    select h.id into taken
    from unnest(messages) m cross join lateral (
        select h.id from {schema}.held h where h.id = m.id
        union all
        select b.task_id from {schema}.barrier b where b.id = m.held_for and (
            b.ended_at is null
            or exists (select from {schema}.waiting w where w.id = b.task_id)
            or exists (select from {schema}.running r where r.id = b.task_id)
        )
    ) h
    where m.held_for is not null limit 1;
    -- A lone call of an id that is stored changes nothing, as without blockers. A canvas cannot be stored in part.
    if taken is not null and cardinality(messages) = 1 then
        return;
    elsif taken is not null then
        raise exception 'the task % waits for others already, under this id or for this group: give others ids', taken
        using errcode = 'invalid_parameter_value';
    end if;
    with made as (
        insert into {schema}.barrier as b (id, task_id, size, remaining, policy, ended_at)
        select m.held_for, m.id, m.expects, m.expects, m.policy, case when m.expects = 0 then clock_timestamp() end
        from unnest(messages) m where m.held_for is not null order by m.held_for
        on conflict (id) do update set
            task_id = excluded.task_id, size = excluded.size, remaining = excluded.remaining,
            policy = excluded.policy, created_at = excluded.created_at, ended_at = excluded.ended_at
        where b.ended_at is not null
        returning b.id, b.xmax::text <> '0' as updated
    )
    select array_agg(id), array_agg(id) filter (where updated) into created, anew from made;
    if anew is not null then
        delete from {schema}.member m where m.barrier = any (anew);
    end if;
    messages := {schema}.join_barriers(messages, coalesce(created, '{}'));
    -- The last step of a chain that replaces a task has the id of the task, and goes on with its attempts.
    for place in 1 .. cardinality(messages) loop
        if strpos(messages[place].options::text, '"replaced_task_nesting"') > 0 then
            messages[place].attempt := greatest(messages[place].attempt, (
                select max(a.number) from {schema}.attempt a where a.id = messages[place].id and a.state = 'REPLACED'
            ));
        end if;
    end loop;
    insert into {schema}.held (
        id, queue, priority, attempt, retries,
        due_at, expires_at,
        name, args, kwargs, options, payload,
        barriers, barrier, countdown, expires_in, keys
    )
    select
        m.id, m.queue, m.priority, coalesce(m.attempt, 0), m.retries,
        coalesce(m.due_at, clock_timestamp()), m.expires_at,
        m.name, m.args, m.kwargs, m.options, m.payload,
        nullif(coalesce(m.barriers, '{}') || coalesce(m.inherited, '{}'), '{}'), m.held_for, m.countdown, m.expires_in,
        m.keys
    from unnest(messages) m where m.held_for is not null and m.expects > 0;
    select array_agg(row(
        m.id, m.queue, m.priority, coalesce(m.attempt, 0), m.retries, 0,
        greatest(coalesce(m.due_at, clock_timestamp() + m.countdown * interval '1 second'), clock_timestamp()),
        clock_timestamp(),
        coalesce(m.expires_at, clock_timestamp() + m.expires_in * interval '1 second'),
        m.name, m.args, m.kwargs, m.options, m.payload, null,
        nullif(coalesce(m.barriers, '{}') || coalesce(m.inherited, '{}'), '{}'), m.keys
    )::{schema}.waiting)
    from unnest(messages) m where m.held_for is null or m.expects = 0
    into tasks;
    if tasks is not null then
        perform {schema}.admit(tasks, p_assign, p_always);
    end if;
    for blocked in
        select m.id, m.held_for, m.blockers, m.ancestors from unnest(messages) m
        where m.expects > 0 and m.blockers <> '{}'
    loop
        ends := ends || {schema}.mark_blockers(
            blocked.id, blocked.held_for, blocked.blockers, coalesce(blocked.ancestors, '{}')
        );
    end loop;
    perform {schema}.count_members(ends, p_always);
end $$;

revoke all on function {schema}.store_messages from public;
