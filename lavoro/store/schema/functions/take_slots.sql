-- Counts the starts of these tasks for their limits, in this order; returns those for which a limit has no room.
-- The answer is {"<id>": "<limit>"}; null if all may start. A claim calls it, and holds the tasks that it returns.
-- Unique keys that are held until the start are free from now on.
-- The limits stay locked until the claim commits, in the order of their keys: no other claim counts meanwhile.
create or replace function {schema}.take_slots(p_ids uuid[], p_keys jsonb[]) returns jsonb
language plpgsql strict security definer set search_path = pg_catalog, pg_temp as $$
declare
    known boolean;
    limits text[];
    wanted integer[];
    room integer[];
    spent integer[];
    refusing boolean[];
    task record;
    place integer;
    refused jsonb := '{}';
    wait boolean;
begin
    for round in 1 .. 2 loop
        with demand as materialized (
            -- A function that returns a set is called in the list of columns: in FROM it would take four times as long.
            select t.key, count(*)::integer as number, min((t.limits->t.key)::text)::jsonb as terms
            from (
                select jsonb_object_keys(k.keys->'limits') as key, k.keys->'limits' as limits
                from unnest(p_keys) k (keys)
            ) t
            group by t.key
        ), locked as materialized (
            select d.number, l.*, l.fixed or {schema}.same_limit(l, d.terms) as current
            from (select d.* from demand d order by d.key offset 0) d
            cross join lateral (select l.* from {schema}.limit_state l where l.key = d.key for update offset 0) l
        )
        select
            coalesce(bool_and(l.current), true) and count(*) = (select count(*) from demand),
            array_agg(l.key order by l.key), array_agg(l.number order by l.key),
            array_agg({schema}.room_of(l.running, l.taken, l.rate, l.per, l.burst, l.paid_until, l.paused_until)
                order by l.key)
        from locked l into known, limits, wanted, room;
        exit when known;
        perform {schema}.define_limits(p_keys);
    end loop;
    spent := wanted;
    if exists (select from unnest(wanted, room) x (wanted, room) where x.wanted > x.room) then
        spent := array_fill(0, array[cardinality(limits)]);
        refusing := array_fill(false, array[cardinality(limits)]);
        for task in
            select t.id, array(
                select array_position(limits, w.key) from jsonb_object_keys(t.keys->'limits') w (key)
            ) as places
            from unnest(p_ids, p_keys) with ordinality t (id, keys, number) order by t.number
        loop
            foreach place in array task.places loop
                if spent[place] >= room[place] then --@room
                    refused := refused || jsonb_build_object(task.id, limits[place]);
                    refusing[place] := true;
                    task.id := null;
                    exit;
                end if;
            end loop;
            if task.id is not null then
                foreach place in array task.places loop
                    spent[place] := spent[place] + 1;
                end loop;
            end if;
        end loop;
    end if;
    with counted as (
        update {schema}.limit_state l set
            taken = case when l.running is null then l.taken else l.taken + s.spent end,
            paid_until = case when l.rate > 0
                then greatest(l.paid_until, clock_timestamp()) + s.spent * l.per / l.rate * interval '1 second'
                else l.paid_until end,
            holds = l.holds or coalesce(s.refusing, false),
            used_at = clock_timestamp()
        from unnest(limits, spent, refusing) s (key, spent, refusing)
        where l.key = s.key and (s.spent > 0 or s.refusing and not l.holds)
        returning s.refusing and (l.rate is not null or l.paused_until is not null) as timed
    )
    select bool_or(c.timed) from counted c into wait;
    if wait then
        perform pg_notify('{prefix}_wake', 'limits:');
    end if;
    delete from {schema}.unique_key u where u.until = 'start' and u.ctid = any (array(
        select u.ctid
        from (
            select t.id, t.keys#>>'{unique,key}' as key from unnest(p_ids, p_keys) t (id, keys)
            where t.keys#>>'{unique,until}' = 'start' and not refused ? t.id::text
            order by t.keys#>>'{unique,key}' offset 0
        ) t
        cross join lateral (
            select u.ctid from {schema}.unique_key u where u.key = t.key and u.task_id = t.id offset 0
        ) u
    ));
    return nullif(refused, '{}');
end $$;

revoke all on function {schema}.take_slots from public;
