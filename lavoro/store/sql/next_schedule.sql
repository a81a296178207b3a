-- Returns the seconds until the next schedule of these tasks is due, and until the next one that is not due within
-- some seconds: those in between wait for their tick, because the task of the last one has not ended.
select
    (
        select extract(epoch from s.due_at - clock_timestamp())::float8 from {schema}.schedule s
        where s.due_at is not null and s.paused_at is null
            and s.task = any (%(tasks)s::text[]) and (not s.in_code or s.name = any (%(own)s::text[]))
        order by s.due_at limit 1
    ),
    (
        select extract(epoch from s.due_at - clock_timestamp())::float8 from {schema}.schedule s
        where s.due_at is not null and s.paused_at is null
            and s.due_at > statement_timestamp() + %(ahead)s::float8 * interval '1 second'
            and s.task = any (%(tasks)s::text[]) and (not s.in_code or s.name = any (%(own)s::text[]))
        order by s.due_at limit 1
    )
