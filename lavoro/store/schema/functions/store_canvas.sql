-- Stores the tasks of a canvas that stands alone: new barriers, the tasks that they hold, and their members.
-- Each task is a member of one barrier at most, and there are no blockers: all others go through store_messages.
-- Fails if an id is taken, or if a member names another barrier than these. It notifies as insert_tasks does.
create or replace function {schema}.store_canvas(
    p_ids uuid[], p_names text[], p_queues text[], p_priorities int2[], p_retries int4[],
    p_etas timestamptz[], p_countdowns float8[], p_expires timestamptz[], p_expires_in float8[],
    p_args text[], p_kwargs text[], p_options text[], p_payloads bytea[],
    p_barriers text[], p_indexes int4[], p_held_for uuid[], p_expects int4[], p_policies text[],
    p_always boolean
) returns void language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    made uuid[] := array(select h from unnest(p_held_for) h where h is not null);
    stranger text;
begin
    -- `offset 0`: the condition would be tested for each row, against an array of as many.
    select m.named
    from (
        select distinct named, place is null as nowhere from unnest(p_barriers, p_indexes) m (named, place) offset 0
    ) m
    where m.named is not null and (m.nowhere or m.named::uuid <> all (made)) limit 1 into stranger;
    if stranger is not null then
        raise exception 'barrier % is not made with this canvas', stranger using errcode = 'invalid_parameter_value';
    end if;
    with given as materialized (
        select * from unnest(
            p_ids, p_names, p_queues, p_priorities, p_retries,
            p_etas, p_countdowns, p_expires, p_expires_in,
            p_args, p_kwargs, p_options, p_payloads,
            p_barriers, p_indexes, p_held_for, p_expects, p_policies
        ) as x (
            id, name, queue, priority, retries,
            eta, countdown, expires_at, expires_in,
            args, kwargs, options, payload,
            barrier, index, held_for, expects, policy
        )
    ), made as (
        insert into {schema}.barrier (id, task_id, size, remaining, policy)
        select held_for, id, expects, expects, policy from given where held_for is not null
    ), held as (
        insert into {schema}.held (
            id, queue, priority, retries,
            due_at, expires_at,
            name, args, kwargs, options, payload,
            barriers, barrier, countdown, expires_in
        )
        select
            id, queue, priority, retries,
            coalesce(eta, clock_timestamp()), expires_at,
            name, args::json, kwargs::json, options::json, payload,
            ('{"' || barrier || '":' || index || '}')::jsonb, held_for, countdown, expires_in
        from given where held_for is not null
    ), stored as (
        insert into {schema}.waiting (
            id, queue, priority, retries,
            due_at, expires_at,
            name, args, kwargs, options, payload, barriers
        )
        select
            id, queue, priority, retries,
            greatest(coalesce(eta, clock_timestamp() + countdown * interval '1 second'), clock_timestamp()),
            coalesce(expires_at, clock_timestamp() + expires_in * interval '1 second'),
            name, args::json, kwargs::json, options::json, payload,
            ('{"' || barrier || '":' || index || '}')::jsonb
        from given where held_for is null
    )
    select pg_notify('{prefix}_wake', case when later then 'later:' else 'due:' end || priority || ':' || queue)
    from (
        select queue, priority, bool_or(eta is not null or countdown > 0) as later
        from given where held_for is null group by queue, priority
    ) lane
    where p_always or {schema}.is_awaited('{prefix}_queue:' || queue)
    into stranger;
end $$;

revoke all on function {schema}.store_canvas from public;
