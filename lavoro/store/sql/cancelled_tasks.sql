-- Lists the tasks these workers have been asked to cancel.
select id, worker_id, attempt, cancel from lavoro.running
where worker_id = any (%(worker_ids)s::bigint[]) and cancel is not null
