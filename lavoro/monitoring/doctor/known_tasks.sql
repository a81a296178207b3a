-- Names of the tasks that live workers have.
select distinct unnest(tasks) from {schema}.worker where stopped_at is null and expires_at > clock_timestamp()
