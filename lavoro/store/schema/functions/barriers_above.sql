-- Returns these barriers, and those for which the tasks that they hold count in turn, and so on.
create or replace function {schema}.barriers_above(p_ids uuid[]) returns uuid[]
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    return array(
        with recursive reached (barrier) as (
            select id from unnest(p_ids) id
            union
            select key.barrier::uuid
            from reached r
            cross join lateral (select b.task_id from {schema}.barrier b where b.id = r.barrier offset 0) b
            cross join lateral (select h.barriers from {schema}.held h where h.id = b.task_id offset 0) h
            cross join lateral jsonb_object_keys(h.barriers) key (barrier)
        )
        select barrier from reached
    );
end $$;

revoke all on function {schema}.barriers_above from public;
