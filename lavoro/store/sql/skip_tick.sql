-- Notes that the task of a tick was not sent, although the tick was recorded as sent.
with skipped as (
    update {schema}.tick set outcome = 'skipped', reason = %(reason)s, task_id = null
    where schedule = %(schedule)s and due_at = %(due_at)s
)
update {schema}.schedule set runs = runs - 1, skips = skips + 1 where name = %(schedule)s
