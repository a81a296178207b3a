-- Notes the task of a run by hand, so that the next tick does not overlap it.
update {schema}.schedule set last_task_id = %(task_id)s::uuid where name = %(name)s
