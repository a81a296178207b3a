-- Lists the indexes of the schema.
select c.relname from pg_class c
where c.relnamespace = (select oid from pg_namespace where nspname = '{prefix}') and c.relkind in ('i', 'I')
