-- Ends one expired lease that was not renewed for half of its length, and returns its worker.
-- The same transaction must rescue that worker's tasks.
update {schema}.worker set stopped_at = clock_timestamp(), end_reason = 'lease expired'
where id in (
    select id from {schema}.worker
    where stopped_at is null
        and expires_at < statement_timestamp() --@expired
        -- Counted from `since`, when the clock was known to be right: a clock set ahead must not end all leases.
        and statement_timestamp() - greatest(seen_at, %(since)s::timestamptz) >= (expires_at - seen_at) / 2 --@clock
        -- At most half of the short lease: an idle node with a long one retries as often as others before it expires.
        and coalesce(
            statement_timestamp() - %(answers_since)s::timestamptz >= least(expires_at - seen_at, lease) / 2, true)
        -- A later time means that the clock has been set.
        and statement_timestamp() <= coalesce(%(latest)s::timestamptz, 'infinity')
    order by id limit 1 for update skip locked
)
returning id, node, process
