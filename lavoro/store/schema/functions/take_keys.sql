-- Takes the unique keys of these tasks; returns {"<id>": "<id of the task that holds its key>"} of those that get none.
-- Of two with the same key here, the first gets it. It waits for transactions that have taken such a key and not ended.
-- It locks no key that another task holds: what ends a task never waits for an open transaction of a sender.
create or replace function {schema}.take_keys(p_ids uuid[], p_keys jsonb[]) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    holders jsonb;
begin
    for round in 1 .. 1000 loop
        -- A key outlives its task for a time only, or where the task was deleted by hand. In one snapshot, a task is in
        -- one table.
        delete from {schema}.unique_key u where u.ctid = any (array(
            select u.ctid
            from (select distinct k.keys#>>'{unique,key}' as key from unnest(p_keys) k (keys) order by 1 offset 0) k
            cross join lateral (
                select u.ctid from {schema}.unique_key u where u.key = k.key and (
                    u.expires_at <= clock_timestamp()
                    or (
                        u.until <> 'time'
                        and (select count(*) from {schema}.waiting t where t.id = u.task_id) = 0
                        and (select count(*) from {schema}.running t where t.id = u.task_id) = 0
                        and (select count(*) from {schema}.held t where t.id = u.task_id) = 0
                    )
                ) offset 0
            ) u
        ));
        insert into {schema}.unique_key (key, task_id, until, expires_at)
        select distinct on (t.keys#>>'{unique,key}')
            t.keys#>>'{unique,key}', t.id, t.keys#>>'{unique,until}',
            clock_timestamp() + (t.keys#>>'{unique,seconds}')::double precision * interval '1 second'
        from unnest(p_ids, p_keys) with ordinality t (id, keys, number)
        order by t.keys#>>'{unique,key}', t.number
        on conflict (key) do nothing;
        select case when count(*) = count(u.task_id)
            then coalesce(jsonb_object_agg(t.id, u.task_id) filter (where u.task_id <> t.id), '{}') end
        from unnest(p_ids, p_keys) t (id, keys)
        left join lateral (
            select u.task_id from {schema}.unique_key u where u.key = t.keys#>>'{unique,key}' offset 0
        ) u on true
        into holders;
        -- A holder that ended meanwhile left its key to be taken.
        exit when holders is not null;
    end loop;
    if holders is null then
        raise exception 'unique keys cannot be read: another transaction took them after this one had begun'
        using errcode = 'serialization_failure';
    end if;
    return holders;
end $$;

revoke all on function {schema}.take_keys from public;
