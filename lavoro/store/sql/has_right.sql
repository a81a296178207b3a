-- Returns whether the connected user has a right on the schema, or on one of its functions, tables or columns.
-- No row or null if it does not exist.
select case %(kind)s::text
    when 'schema' then has_schema_privilege(n.oid, %(privilege)s::text)
    when 'function' then (
        select has_function_privilege(p.oid, %(privilege)s::text) from pg_proc p
        where p.pronamespace = n.oid and p.proname = %(name)s::text
    )
    when 'table' then (
        select has_table_privilege(c.oid, %(privilege)s::text) from pg_class c
        where c.relnamespace = n.oid and c.relname = %(name)s::text
    )
    when 'columns' then (
        select bool_and(coalesce(has_column_privilege(c.oid, a.attnum, %(privilege)s::text), false))
        from pg_class c
        cross join unnest(%(columns)s::text[]) as wanted (name)
        left join pg_attribute a on a.attrelid = c.oid and a.attname = wanted.name
        where c.relnamespace = n.oid and c.relname = %(name)s::text
    )
end
from pg_namespace n
where n.nspname = '{prefix}'
