-- Lets a task start that was revoked before it came.
delete from {schema}.revoked where id = %(id)s
