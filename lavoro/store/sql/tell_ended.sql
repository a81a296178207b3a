-- Tells callers that tasks have ended, whose outcomes are stored: ids with commas between them.
-- A process that waits for results holds this lock shared. If the lock is free, nothing is notified.
select pg_notify('{prefix}_done', %(ids)s::text) where {schema}.is_awaited('{prefix}_results')
