-- Deletes the waiting tasks of these queues for good; returns how many.
-- Each counts as revoked where others wait for it.
with purged as (
    delete from {schema}.waiting where queue = any (%(queues)s::text[]) returning id, barriers, options, keys
), counted as materialized (
    select {schema}.count_members(array_agg(row(
        id, options->>'task_id', barriers, 'REVOKED',
        '{"exc_type":"TaskRevokedError","exc_module":"lavoro.exceptions","exc_message":["purged"]}'::json, null, options
    )::{schema}.ending)) as number
    from purged where barriers is not null or strpos(options::text, '"chain"') > 0 --@count
)
select
    count(*),
    (select number from counted),
    {schema}.free_keys(
        array_agg(id) filter (where keys is not null), array_agg(keys) filter (where keys is not null)
    ),
    {schema}.give_slots(array_agg(keys) filter (where keys is not null), false)
from purged
