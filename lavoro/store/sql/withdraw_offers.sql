-- Takes back what a worker has offered; waits for who is about to take an offer.
delete from {schema}.offer
where queue = any (array(select unnest(w.queues) from {schema}.worker w where w.id = %(worker_id)s))
    -- The index's second column: what ran out before was taken by nobody, and is left to forget_old.
    and until > statement_timestamp() - interval '1 minute'
    and worker_id = %(worker_id)s
