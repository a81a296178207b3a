-- Stores a custom state with its metadata for a running task, on whichever worker it runs; returns a row if it does.
update {schema}.running set state = %(state)s, progress = %(meta)s::json
where id = %(id)s
returning true
