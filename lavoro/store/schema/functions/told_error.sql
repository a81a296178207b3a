-- Writes a stored error as Python's repr of the exception: ValueError('boom').
create or replace function {schema}.told_error(p_state text, p_error json) returns text
language plpgsql immutable security definer set search_path = pg_catalog, pg_temp as $$
declare
    arguments text;
begin
    if json_typeof(p_error) is distinct from 'object' or p_error->>'exc_type' is null then
        return case p_state when 'IGNORED' then 'Ignore()' else p_state end;
    end if;
    select string_agg(case
        when json_typeof(a.value) <> 'string' then a.value::text
        when strpos(a.value#>>'{}', '''') > 0 and strpos(a.value#>>'{}', '"') = 0
            then '"' || replace(replace(a.value#>>'{}', '\', '\\'), E'\n', '\n') || '"'
        else '''' || replace(replace(replace(a.value#>>'{}', '\', '\\'), E'\n', '\n'), '''', '\''') || ''''
    end, ', ' order by a.ordinality)
    from json_array_elements(case json_typeof(p_error->'exc_message')
        when 'array' then p_error->'exc_message' else json_build_array(p_error->'exc_message') end
    ) with ordinality a
    into arguments;
    return (p_error->>'exc_type') || '(' || coalesce(left(arguments, 10000), '') || ')';
end $$;

revoke all on function {schema}.told_error from public;
