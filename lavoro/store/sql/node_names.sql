-- Names the nodes that live: of which one process has a lease.
select distinct node from {schema}.worker
where stopped_at is null and expires_at > clock_timestamp()
order by node
