-- Stores one task that is due at once; returns true if no worker sleeps on its queue. Fails if the id is taken.
-- A sleeping worker's offer gets the task in the same transaction; without an offer, the sleeping workers are notified.
-- This is the short form of insert_tasks for a single .delay(): a column costs 1 us, ON CONFLICT 20 us, unnest() 50 us.
select {schema}.assign_task(
    %(id)s, %(queue)s, %(priority)s, %(name)s, %(args)s::json, %(kwargs)s::json, %(options)s::json
)
