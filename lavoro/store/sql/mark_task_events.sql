-- Says of the live processes of a node that monitors are told of their tasks, or no longer.
update {schema}.worker set task_events = %(on)s where node = %(node)s and stopped_at is null and task_events <> %(on)s
