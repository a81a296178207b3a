-- Ends a worker's lease for good, with the reason; only the first statement to end it returns a row.
update {schema}.worker set stopped_at = clock_timestamp(), end_reason = %(reason)s
where id = %(id)s and live
returning id
