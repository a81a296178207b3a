-- Indexes that no query uses: their making was interrupted.
select i.indexrelid::regclass::text, i.indrelid::regclass::text, c.relkind = 'I'
from pg_index i join pg_class c on c.oid = i.indexrelid
where c.relnamespace = '{schema}'::regnamespace and not (i.indisvalid and i.indisready) order by 1
