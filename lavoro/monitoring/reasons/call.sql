-- What keeps a waiting task: its time, a revoke, a pause of its queue, and how many tasks of the queue come before it.
select
    extract(epoch from t.due_at - statement_timestamp())::float8, t.due_at,
    exists (select from {schema}.revoked r where r.id = t.id),
    (
        select extract(epoch from statement_timestamp() - q.paused_at)::float8 from {schema}.queue q
        where q.name = t.queue
    ),
    (select count(*) from (
        select from {schema}.waiting w
        where w.queue = t.queue and w.due_at <= statement_timestamp()
            and (w.priority > t.priority or w.priority = t.priority and w.due_at < t.due_at)
        limit %(most)s
    ) earlier)
from {schema}.waiting t where t.id = %(id)s
