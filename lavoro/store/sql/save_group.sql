-- Stores the members of a group, in place of those that an earlier call has stored.
-- The value stands twice: to read `excluded.form`, a producer would need the right to read the column.
insert into {schema}.saved_group (id, form) values (%(id)s, %(form)s::json)
on conflict (id) do update set form = %(form)s::json, saved_at = clock_timestamp()
