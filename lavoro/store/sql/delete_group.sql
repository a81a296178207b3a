-- Drops what is saved of a group.
delete from {schema}.saved_group where id = %(id)s
