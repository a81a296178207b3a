-- Deletes the stored outcome of a finished task.
delete from {schema}.finished where id = %(id)s
returning id
