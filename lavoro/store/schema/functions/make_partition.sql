-- Makes one partition of a table and returns its name, or null if the default partition has rows of its time.
-- Only the owner of a table can attach partitions. Workers are not owners, so this function runs as the owner.
create or replace function {schema}.make_partition(p_table text, p_begins timestamptz, p_ends timestamptz)
returns text language plpgsql security definer set search_path = pg_catalog, pg_temp as $body$
declare
    parent regclass := case p_table
        when 'finished_success' then $${schema}.finished_success$$
        when 'finished_failure' then $${schema}.finished_failure$$
        when 'attempt' then $${schema}.attempt$$
    end;
    suffix text := to_char(p_begins at time zone 'UTC', '_YYYYMMDD"t"HH24MISS');
begin
    if parent is null then
        raise exception '% has no partitions of times', p_table using errcode = 'invalid_parameter_value';
    end if;
    -- Created alone and attached, because `create table ... partition of` locks the whole parent.
    -- Partitions are dropped whole, so a vacuum after inserts would read and write all of it for nothing.
    execute format(
        'create table %s (like %s including all) with (autovacuum_vacuum_insert_threshold = -1)',
        parent || suffix, parent
    );
    execute format('alter table %s replica identity full', parent || suffix);
    execute format(
        'alter table %s attach partition %s for values from (%L) to (%L)',
        parent, parent || suffix, p_begins, p_ends
    );
    return p_table || suffix;
exception when check_violation then
    return null;
end $body$;

revoke all on function {schema}.make_partition from public;
