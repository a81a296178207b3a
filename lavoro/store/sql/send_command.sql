-- Stores a command for those of the nodes that live, and notifies each; returns them, no row if none lives.
with addressed as materialized (
    select distinct node from {schema}.worker
    where stopped_at is null and expires_at > clock_timestamp() and node = any (%(nodes)s::text[])
), sent as (
    insert into {schema}.command (name, arguments, sender, expires_at)
    select %(name)s, %(arguments)s::json, %(sender)s, clock_timestamp() + %(expires)s::float8 * interval '1 second'
    where exists (select from addressed)
    returning id
), told as (
    insert into {schema}.command_node (command_id, node)
    select sent.id, addressed.node from sent, addressed
    returning command_id, node
)
select command_id, node, pg_notify('{prefix}_wake', 'command:' || node) from told
