-- Lists each (id, attempt) of this worker whose outcome was accepted, after a finish whose commit is in doubt.
-- A lost start has a row in `attempt` too, but no outcome.
-- `offset 0` keeps one index look-up for each id: without statistics, a join reads the whole table.
select w.id, a.attempt
from unnest(%(ids)s::uuid[]) as w (id)
cross join lateral (
    (select f.attempt from {schema}.finished f where f.id = w.id and f.worker_id = %(worker_id)s offset 0)
    union all
    (
        select a.number from {schema}.attempt a
        where a.id = w.id and a.worker_id = %(worker_id)s and a.state <> 'LOST' offset 0
    )
) a
