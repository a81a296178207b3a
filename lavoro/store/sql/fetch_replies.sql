-- Returns the replies to a command, and the nodes that have not replied, with whether each still lives.
select
    n.node, n.reply::text, n.replied_at is not null as replied,
    exists (
        select from {schema}.worker w
        where w.node = n.node and w.stopped_at is null and w.expires_at > clock_timestamp()
    ) as lives
from {schema}.command_node n
where n.command_id = %(id)s
order by n.replied_at, n.node
