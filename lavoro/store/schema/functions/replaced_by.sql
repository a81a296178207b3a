-- Finds the tasks that go on instead of replaced ones, and lead to the last of them, which has the id of the task.
-- Returns them as the ancestors of a place: {"<replaced>": ["<task>", ...]}.
create or replace function {schema}.replaced_by(p_ids uuid[]) returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
begin
    return (
        with recursive heir (id, step) as (
            select w.id, a.heir
            from unnest(p_ids) w (id)
            cross join lateral (
                select a.heir from {schema}.attempt a where a.id = w.id and a.heir is not null offset 0
            ) a
            union
            select h.id, n.step
            from heir h
            cross join lateral (
                (select a.heir as step from {schema}.attempt a where a.id = h.step and a.heir is not null offset 0)
                union all
                select s.p_id
                from (select f.options from {schema}.finished f where f.id = h.step offset 0) f
                cross join lateral {schema}.steps_behind(f.options) s
            ) n
            where n.step <> h.id
        ), line as (
            select h.id, jsonb_agg(h.step) as steps from heir h group by h.id
        )
        select coalesce(jsonb_object_agg(l.id, l.steps), '{}') from line l
    );
end $$;

revoke all on function {schema}.replaced_by from public;
