-- Tells which (id, attempt) of this worker were accepted before: the answer to a finish whose commit is in doubt.
-- A start that was lost has its record in `attempt` too, and none of its outcomes was accepted.
-- `offset 0` keeps it one look into the index for each id: a join reads the whole table where there are no statistics.
select w.id, a.attempt from unnest(%(ids)s::uuid[]) as w (id) cross join lateral (
    (select f.attempt from {schema}.finished f where f.id = w.id and f.worker_id = %(worker_id)s offset 0)
    union all
    (select a.number from {schema}.attempt a where a.id = w.id and a.worker_id = %(worker_id)s and a.state <> 'LOST'
        offset 0)
) a
