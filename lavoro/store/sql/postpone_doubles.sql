-- Postpones waiting tasks whose id is running: a call reused the id, and the running task must end first.
update {schema}.waiting w
set due_at = clock_timestamp() + interval '1 second', reason = 'a task of the same id is running'
where w.due_at <= clock_timestamp() and exists (select from {schema}.running r where r.id = w.id)
returning w.id
