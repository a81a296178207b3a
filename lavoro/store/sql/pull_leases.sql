-- Lets leases that were renewed in the future begin now, with the same length, after the clock was set back.
update {schema}.worker set expires = clock_timestamp() + (expires - seen_at), seen_at = clock_timestamp()
where stopped is null and seen_at > clock_timestamp()
returning id
