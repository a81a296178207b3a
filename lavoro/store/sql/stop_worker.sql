-- Ends a worker's lease for good and says why; only the first to end it gets an answer.
update lavoro.worker set stopped = clock_timestamp(), end_reason = %(reason)s
where id = %(id)s and stopped is null
returning id
