-- Deletes schedules; their ticks stay.
delete from {schema}.schedule where name = any (%(names)s::text[])
