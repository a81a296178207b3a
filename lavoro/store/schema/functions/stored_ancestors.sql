-- Finds, for tasks that are not stored yet, the nearest stored step of the chain before each that leads to it.
create or replace function {schema}.stored_ancestors(p_ids uuid[], p_ancestors jsonb)
returns table (p_id uuid, p_ancestor uuid)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
begin
    return query
    with wanted as materialized (
        select w.id, a.id::uuid as ancestor, a.place
        from unnest(p_ids) w (id)
        cross join lateral jsonb_array_elements_text(p_ancestors->w.id::text) with ordinality a (id, place)
    ), step as materialized (
        select t.id, t.options
        from (select distinct w.ancestor from wanted w) w
        cross join lateral (
            select t.id, t.options from {schema}.waiting t where t.id = w.ancestor
            union all select t.id, t.options from {schema}.running t where t.id = w.ancestor
            union all select t.id, t.options from {schema}.held t where t.id = w.ancestor
        ) t
    ), behind as materialized (
        select s.id, b.p_id as later from step s cross join lateral {schema}.steps_behind(s.options) b
    )
    select distinct on (w.id) w.id, w.ancestor
    from wanted w join behind l on l.id = w.ancestor and l.later = w.id
    order by w.id, w.place;
end $$;

revoke all on function {schema}.stored_ancestors from public;
