-- Lists the partitions of a table with the end of each one's span of time, oldest first, without the default partition.
select c.relname,
    substring(
        pg_get_expr(c.relpartbound, c.oid) from $$FOR VALUES FROM \('[^']+'\) TO \('([^']+)'\)$$
    )::timestamptz as ends
from pg_inherits i join pg_class c on c.oid = i.inhrelid
where i.inhparent = ('{schema}.' || %(table)s::text)::regclass and pg_get_expr(c.relpartbound, c.oid) <> 'DEFAULT'
order by ends
