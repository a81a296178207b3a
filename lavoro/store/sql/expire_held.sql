-- Ends held tasks that have expired as REVOKED; returns how many, and whether a limit holds tasks.
-- Expired waiting tasks end when they are claimed.
select cardinality({schema}.end_held(
    array(
        select id from {schema}.held where expires_at <= clock_timestamp() order by expires_at limit %(limit)s
    ),
    'REVOKED', '{"exc_type":"TaskRevokedError","exc_module":"lavoro.exceptions","exc_message":["expired"]}', null, true
)), exists (select from {schema}.limit_state where holds)
