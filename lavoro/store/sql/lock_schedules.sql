-- Locks schedules and returns them, with where the task of the last tick is if it has not ended, and the time.
select
    s.name, s.task, s.args::text, s.kwargs::text, s.options::text, s.timing, s.zone, s.in_code,
    s.missed, s.missed_most, s.missed_age, s.overlap, s.jitter, s.starts_at, s.ends_at, s.most_runs,
    s.origin, s.app, s.paused_at, s.defined_at, s.since,
    s.next_at, s.due_at is null, s.last_at, s.last_task_id, s.runs,
    s.skips, s.error,
    case
        when s.last_task_id is null then null
        when exists (select from {schema}.running r where r.id = s.last_task_id) then 'running'
        when exists (select from {schema}.waiting w where w.id = s.last_task_id) then 'waiting'
        when exists (select from {schema}.held h where h.id = s.last_task_id) then 'held'
    end,
    clock_timestamp()
from {schema}.schedule s
where s.name = any (%(names)s::text[])
order by s.name
for update of s
