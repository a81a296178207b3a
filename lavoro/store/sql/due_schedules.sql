-- Locks the schedules that are due within some seconds, and returns them, the earliest first.
-- Where the task of the last tick has not ended (`last_stage`), the overlap is decided at the tick, not ahead.
-- No time until that of the last tick comes again, even if `since` is set back.
-- Schedules that another worker has locked are left to it.
select
    s.name, s.task, s.args::text, s.kwargs::text, s.options::text, s.timing, s.zone, s.in_code,
    s.missed, s.missed_most, s.missed_age, s.overlap, s.jitter, s.starts_at, s.ends_at, s.most_runs,
    s.next_at, s.due_at, greatest(s.since, s.last_at), s.runs, s.last_task_id, l.stage,
    clock_timestamp()
from {schema}.schedule s
cross join lateral (
    select case
        when s.last_task_id is null or s.overlap = 'allow' then null
        when exists (select from {schema}.running r where r.id = s.last_task_id) then 'running'
        when exists (select from {schema}.waiting w where w.id = s.last_task_id) then 'waiting'
        when exists (select from {schema}.held h where h.id = s.last_task_id) then 'held'
    end
) l (stage)
where s.due_at <= statement_timestamp() + %(ahead)s::float8 * interval '1 second'
    and (s.due_at <= statement_timestamp() or l.stage is null)
    and s.paused_at is null
    and s.task = any (%(tasks)s::text[]) and (not s.in_code or s.name = any (%(own)s::text[]))
order by s.due_at limit %(limit)s
for update of s skip locked
