-- Lists the functions and views of the schema.
select p.proname from pg_proc p
where p.pronamespace = (select oid from pg_namespace where nspname = '{prefix}')
union all
select c.relname from pg_class c
where c.relnamespace = (select oid from pg_namespace where nspname = '{prefix}') and c.relkind = 'v'
