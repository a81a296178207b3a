-- Takes the commands to a node that have not expired, in the order in which they were sent.
with taken as (
    update {schema}.command_node set taken_at = clock_timestamp()
    where node = %(node)s and taken_at is null
    returning command_id
)
select c.id, c.name, c.arguments::text, c.sender, extract(epoch from c.expires_at - clock_timestamp())::float8
from taken join {schema}.command c on c.id = taken.command_id
where c.expires_at > clock_timestamp()
order by c.id
