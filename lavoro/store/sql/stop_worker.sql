-- Ends a worker's lease for good and says why; only the first to end it gets an answer.
update {schema}.worker set stopped_at = clock_timestamp(), end_reason = %(reason)s
-- That is: stopped_at is null. So written, the index of all live workers, which is longer, does not fit.
where id = %(id)s and coalesce(stopped_at, 'infinity') = 'infinity'
returning id
