-- Lets no tick of these schedules come.
update {schema}.schedule set paused_at = clock_timestamp() where name = any (%(names)s::text[]) and paused_at is null
