-- Renews the leases of a node's live children; a worker that is missing in the answer has been given up by others.
update lavoro.worker set seen_at = clock_timestamp()
where id = any (%(ids)s::bigint[]) and stopped is null
returning id
