-- Waits for running calls of these ids, and blocks further calls of them until this transaction ends.
select pg_advisory_xact_lock(hashtextextended('{prefix}_call:' || c.id, 0))
from (select id from unnest(%(ids)s::uuid[]) as u (id) order by id) c
