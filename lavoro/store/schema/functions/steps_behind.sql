-- Lists the steps behind a task in its chain, from its options.
-- An id that is no UUID is left out: only Python knows the row's id for it.
create or replace function {schema}.steps_behind(p_options json) returns table (p_id uuid, p_name text)
language sql immutable security definer set search_path = pg_catalog, pg_temp as $$
    select (s.value->'options'->>'task_id')::uuid, coalesce(nullif(s.value->>'task', ''), '?')
    from json_array_elements(
        case when json_typeof(p_options->'chain') = 'array' then p_options->'chain' else '[]' end
    ) s
    where json_typeof(s.value) = 'object'
        and s.value->'options'->>'task_id' like '________-____-____-____-____________'
        and translate(s.value->'options'->>'task_id', '0123456789abcdef-', '') = ''
$$;

revoke all on function {schema}.steps_behind from public;
