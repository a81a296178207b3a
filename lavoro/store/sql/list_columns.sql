-- Lists each column of each table of the schema, with its type and whether it must not be null.
-- A table without columns has one row; partitions have none.
select c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull
from pg_class c
left join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
where c.relnamespace = (select oid from pg_namespace where nspname = '{prefix}')
    and c.relkind in ('r', 'p') and not c.relispartition
