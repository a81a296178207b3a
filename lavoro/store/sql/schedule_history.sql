-- Returns the last ticks of a schedule, the latest first.
select due_at, until_at, times, outcome, late, reason, task_id, recorded_at
from {schema}.tick
where schedule = %(name)s and due_at < coalesce(%(before)s::timestamptz, 'infinity')
order by due_at desc limit %(limit)s
