-- Tells which of the ids have finished.
select id from lavoro.finished where id = any (%(ids)s::uuid[])
