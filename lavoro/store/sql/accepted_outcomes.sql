-- Tells which (id, attempt) of this worker were accepted before: the answer to a finish whose commit is in doubt.
select id, attempt from lavoro.finished
where id = any (%(ids)s::uuid[]) and worker_id = %(worker_id)s
union all
select id, attempt from lavoro.attempt
where id = any (%(ids)s::uuid[]) and worker_id = %(worker_id)s
