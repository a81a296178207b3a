-- Ends a lease that has run out, and names the worker whose tasks must be rescued in the same transaction.
update lavoro.worker set stopped = clock_timestamp(), end_reason = 'lease ran out'
where id in (
    select id from lavoro.worker where stopped is null and expires < statement_timestamp()
    order by id limit 1 for update skip locked
)
returning id, node, process
