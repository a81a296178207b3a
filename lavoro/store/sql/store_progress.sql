-- Stores a custom state with its metadata for a task that this worker still holds.
update {schema}.running set state = %(state)s, progress = %(meta)s::json
where id = %(id)s and worker_id = %(worker_id)s and attempt = %(attempt)s
returning true
