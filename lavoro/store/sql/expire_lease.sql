-- Ends a lease that has run out and has not moved for half of its length, and names the worker whose tasks must be rescued in
-- the same transaction.
update {schema}.worker set stopped_at = clock_timestamp(), end_reason = 'lease ran out'
where id in (
    select id from {schema}.worker where stopped_at is null
        and expires_at < statement_timestamp() --@expired
        -- Counted from the time since which the clock is known to be right: else all leases would end when it is set ahead.
        and statement_timestamp() - greatest(seen_at, %(since)s::timestamptz) >= (expires_at - seen_at) / 2 --@clock
        -- Not half of the long lease of an idle node: it has tried to renew, as often as others do, before that ran out.
        and coalesce(statement_timestamp() - %(answers_since)s::timestamptz >= least(expires_at - seen_at, lease) / 2, true)
        -- A later time means that the clock was set meanwhile.
        and statement_timestamp() <= coalesce(%(latest)s::timestamptz, 'infinity')
    order by id limit 1 for update skip locked
)
returning id, node, process
