-- Returns the tasks whose schedules a live worker sends.
select distinct unnest(tasks) from {schema}.worker
where stopped_at is null and expires_at > clock_timestamp() and runs_schedules
