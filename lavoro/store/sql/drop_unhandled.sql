-- Drops a task whose handlers a process has called, where that process still has it.
delete from {schema}.unhandled where id = %(id)s and worker_id = %(worker_id)s returning true
