-- Reads the members of a saved group.
select form::text from {schema}.saved_group where id = %(id)s
