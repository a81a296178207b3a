-- Lists the stamps whose tasks must not start.
select header, value::text from {schema}.revoked_stamp order by header, revoked_at
