-- Ends the leases that have run out, and names the workers whose tasks must be rescued.
update lavoro.worker set stopped = clock_timestamp(), end_reason = 'lease ran out'
where id in (
    select id from lavoro.worker where stopped is null and seen_at + lease < clock_timestamp()
    order by id for update skip locked
)
returning id, node, process
