-- Deletes the stored outcomes of finished tasks.
delete from {schema}.finished where id = any (%(ids)s::uuid[])
returning id
