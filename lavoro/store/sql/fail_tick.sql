-- Notes that the task of a tick could not be stored.
with failed as (
    update {schema}.tick set outcome = 'failed', reason = %(reason)s, task_id = null
    where schedule = %(schedule)s and due_at = %(due_at)s
)
update {schema}.schedule set error = %(reason)s where name = %(schedule)s
