-- Lists the tasks behind a task in its chain, from its options: those inside of chains, groups and chords too.
-- An id that is no UUID is left out: only Python knows the row's id for it.
create or replace function {schema}.steps_behind(p_options json) returns table (p_id uuid, p_name text)
language sql immutable security definer set search_path = pg_catalog, pg_temp as $$
    with recursive part (value) as (
        select s.value from json_array_elements(
            case when json_typeof(p_options->'chain') = 'array' then p_options->'chain' else '[]' end
        ) s
        union all
        select m.value
        from part p
        cross join lateral (
            values (p.value->'kwargs'->'tasks'), (p.value->'kwargs'->'header'), (p.value->'kwargs'->'body')
        ) of (parts)
        cross join lateral json_array_elements(
            case json_typeof(of.parts) when 'array' then of.parts when 'object' then json_build_array(of.parts)
            else '[]' end
        ) m
        where p.value->>'subtask_type' in ('chain', 'group', 'chord')
    )
    select (s.value->'options'->>'task_id')::uuid, coalesce(nullif(s.value->>'task', ''), '?')
    from part s
    where json_typeof(s.value) = 'object'
        and coalesce(s.value->>'subtask_type', '') not in ('chain', 'group', 'chord')
        and s.value->'options'->>'task_id' like '________-____-____-____-____________'
        and translate(s.value->'options'->>'task_id', '0123456789abcdef-', '') = ''
$$;

revoke all on function {schema}.steps_behind from public;
