-- Lets the ticks of these schedules come again from now on, also where an error has ended them.
update {schema}.schedule set
    paused_at = null, error = null, next_at = null, due_at = '1970-01-01 00:00+00', since = clock_timestamp()
where name = any (%(names)s::text[]) and (paused_at is not null or (error is not null and due_at is null))
