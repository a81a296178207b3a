-- Returns schedules in the order of their names, of all or of those named, from one name on.
select
    s.name, s.task, s.args::text, s.kwargs::text, s.options::text, s.timing, s.zone, s.in_code,
    s.missed, s.missed_most, s.missed_age, s.overlap, s.jitter, s.starts_at, s.ends_at, s.most_runs,
    s.origin, s.app, s.paused_at, s.defined_at, s.since,
    s.next_at, s.due_at is null, s.last_at, s.last_task_id, s.runs,
    s.skips, s.error
from {schema}.schedule s
where (%(names)s::text[] is null or s.name = any (%(names)s::text[])) and s.name > %(after)s
order by s.name limit %(limit)s
