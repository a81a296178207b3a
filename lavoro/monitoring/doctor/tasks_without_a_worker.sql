-- How many tasks wait, when no worker is alive; no row when one is.
select (select count(*) from {schema}.waiting)
where not exists (select from {schema}.worker where stopped_at is null and expires_at > clock_timestamp())
