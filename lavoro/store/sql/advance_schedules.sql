-- Notes the ticks of schedules, and when the next ones come: a null time means that none comes.
update {schema}.schedule s set
    next_at = u.next_at,
    due_at = u.due_at,
    last_at = greatest(u.last_at, s.last_at),
    last_task_id = coalesce(u.last_task_id, s.last_task_id),
    runs = s.runs + u.runs,
    skips = s.skips + u.skips,
    error = u.error
from unnest(
    %(name)s::text[], %(next_at)s::timestamptz[], %(due_at)s::timestamptz[], %(last_at)s::timestamptz[],
    %(last_task_id)s::uuid[], %(runs)s::integer[], %(skips)s::integer[], %(error)s::text[]
) u (name, next_at, due_at, last_at, last_task_id, runs, skips, error)
where s.name = u.name
