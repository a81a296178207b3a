-- Stores a node's reply to a command; the first one counts.
update {schema}.command_node set reply = %(reply)s::json, replied_at = clock_timestamp()
where command_id = %(id)s and node = %(node)s and replied_at is null
