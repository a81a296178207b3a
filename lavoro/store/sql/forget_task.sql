-- Drops the stored outcome of a finished task.
delete from lavoro.finished where id = %(id)s
returning id
