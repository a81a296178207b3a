-- Drops one partition of a span of time, with all its rows; fails for any other table.
-- Only the owner of a table can drop it. Workers are not owners, so this function runs as the owner.
create or replace function {schema}.drop_partition(p_name text)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp as $body$
declare
    found_one regclass;
begin
    select i.inhrelid::regclass into strict found_one
    from pg_inherits i join pg_class c on c.oid = i.inhrelid
    where c.relname = p_name and pg_get_expr(c.relpartbound, c.oid) <> 'DEFAULT' and i.inhparent in (
        $${schema}.finished_success$$::regclass,
        $${schema}.finished_failure$$::regclass,
        $${schema}.attempt$$::regclass
    );
    execute format('drop table %s', found_one);
end $body$;

revoke all on function {schema}.drop_partition from public;
