-- Records ticks that are sent after all, in place of those that were skipped or failed; returns their times.
-- Of several skipped ones in one row, the first is replaced; the caller records those that are left.
insert into {schema}.tick as t (schedule, due_at, late, outcome, reason, task_id)
select %(name)s, u.due_at, true, 'sent', %(reason)s, u.task_id
from unnest(%(times)s::timestamptz[], %(ids)s::uuid[]) u (due_at, task_id)
on conflict (schedule, due_at) do update set
    until_at = null, times = 1, late = true, outcome = 'sent', reason = excluded.reason, task_id = excluded.task_id,
    recorded_at = clock_timestamp()
where t.outcome <> 'sent'
returning due_at
