-- Returns the rows of several skipped ticks that begin between two times and end later than the second.
select due_at, until_at, times, reason from {schema}.tick
where schedule = %(name)s and due_at between %(first)s and %(last)s and until_at > %(last)s
