-- Deletes the held tasks of these queues for good; returns how many.
select cardinality({schema}.end_held(
    array(select id from {schema}.held where queue = any (%(queues)s::text[])),
    'REVOKED', '{"exc_type":"TaskRevokedError","exc_module":"lavoro.exceptions","exc_message":["purged"]}', null, false
))
