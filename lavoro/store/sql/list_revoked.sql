-- Lists the ids that must not start, and the tasks that were revoked within a day, the last ones first.
select id from (
    select id, revoked_at as at from {schema}.revoked
    union all
    select id, finished_at from {schema}.finished
    where state = 'REVOKED' and finished_at > clock_timestamp() - interval '1 day'
) known
order by at desc, id limit 50000
