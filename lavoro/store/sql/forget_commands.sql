-- Deletes commands that were sent more than `kept` seconds ago, at most 10,000, with their replies.
with old as materialized (
    select id from {schema}.command
    where sent_at < clock_timestamp() - %(kept)s::float8 * interval '1 second'
    order by sent_at limit 10000
), replies as (
    delete from {schema}.command_node where command_id in (select id from old)
)
delete from {schema}.command where id in (select id from old)
