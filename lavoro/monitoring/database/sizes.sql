-- Tables of the schema and their partitions: rows and dead rows as PostgreSQL counts them, bytes, the last vacuum.
-- To measure a table takes a lock on it: where another session locks it, its size is that of the last vacuum.
with sized as (
    select c.oid, c.relname,
        not exists (
            select from pg_locks l
            where l.mode = 'AccessExclusiveLock' and l.database = (
                    select oid from pg_database where datname = current_database())
                and (l.relation in (c.oid, c.reltoastrelid)
                    or l.relation in (select indexrelid from pg_index where indrelid = c.oid))
        ) as free,
        c.relpages + coalesce((select relpages from pg_class where oid = c.reltoastrelid), 0) as pages,
        coalesce((
            select sum(x.relpages) from pg_index i join pg_class x on x.oid = i.indexrelid where i.indrelid = c.oid
        ), 0) as index_pages,
        current_setting('block_size')::bigint as block
    from pg_class c
    where c.relnamespace = (select oid from pg_namespace where nspname = %(schema)s) and c.relkind = 'r'
), measured as materialized (
    select *,
        case when free then pg_total_relation_size(oid) else (pages + index_pages) * block end::bigint as total,
        case when free then pg_indexes_size(oid) else index_pages * block end::bigint as indexes
    from sized
)
select m.relname, p.relname, coalesce(s.n_live_tup, 0), coalesce(s.n_dead_tup, 0), m.total, m.indexes,
    greatest(s.last_vacuum, s.last_autovacuum)
from measured m
left join pg_inherits i on i.inhrelid = m.oid
left join pg_class p on p.oid = i.inhparent
left join pg_stat_all_tables s on s.relid = m.oid
order by m.total desc, m.relname
