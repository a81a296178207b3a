-- Lets the unique keys of tasks that have ended be taken again; only the task that holds a key gives it back.
create or replace function {schema}.free_keys(p_ids uuid[], p_keys jsonb[]) returns void
language sql strict volatile security definer set search_path = pg_catalog, pg_temp as $$
    delete from {schema}.unique_key u where u.ctid = any (array(
        select u.ctid
        from (
            select t.id, t.keys#>>'{unique,key}' as key from unnest(p_ids, p_keys) t (id, keys)
            where t.keys ? 'unique' order by t.keys#>>'{unique,key}' offset 0
        ) t
        cross join lateral (
            select u.ctid from {schema}.unique_key u
            where u.key = t.key and u.task_id = t.id and u.until <> 'time' offset 0
        ) u
    ))
$$;

revoke all on function {schema}.free_keys from public;
