-- Lists the ids that must not start, those revoked last first.
select id from {schema}.revoked order by revoked_at desc, id limit 50000
