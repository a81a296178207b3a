-- Lists the starts of a task that ended without an accepted outcome, oldest first.
select
    a.number, a.state, a.started_at, a.ended_at,
    (select w.node from {schema}.worker w where w.id = a.worker_id) as worker,
    a.reason, a.error::text, a.traceback
from {schema}.attempt a
where a.id = %(id)s
order by a.number, a.ended_at
