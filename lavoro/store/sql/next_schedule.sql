-- Returns the seconds until the next schedule of these tasks is due.
select extract(epoch from s.due_at - clock_timestamp())::float8
from {schema}.schedule s
where s.due_at < 'infinity' and s.paused_at is null
    and s.task = any (%(tasks)s::text[]) and (not s.in_code or s.name = any (%(own)s::text[]))
order by s.due_at limit 1
