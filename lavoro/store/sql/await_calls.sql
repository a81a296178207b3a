-- Waits until calls of these ids that are under way are over, and keeps others from beginning until this transaction ends.
select pg_advisory_xact_lock(hashtextextended('{prefix}_call:' || c.id, 0))
from (select id from unnest(%(ids)s::uuid[]) as u (id) order by id) c
