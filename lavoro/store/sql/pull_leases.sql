-- Moves leases that were renewed in the future to now, with the same length, after the clock was set back.
update {schema}.worker set expires_at = clock_timestamp() + (expires_at - seen_at), seen_at = clock_timestamp()
where stopped_at is null and seen_at > clock_timestamp()
returning id
