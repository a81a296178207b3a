-- Deletes a worker's offers; waits for calls that are taking one.
delete from {schema}.offer
where queue = any (array(select unnest(w.queues) from {schema}.worker w where w.id = %(worker_id)s))
    -- The second column of the index. No call takes an older offer; forget_old deletes it.
    and until > statement_timestamp() - interval '1 minute'
    and worker_id = %(worker_id)s
