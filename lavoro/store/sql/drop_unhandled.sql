-- Deletes a task whose handlers a process has called, if the process still has it.
delete from {schema}.unhandled where id = %(id)s and worker_id = %(worker_id)s returning true
