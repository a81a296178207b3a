-- Takes one task that ended without its process, for a process that knows its name and calls its handlers.
-- A task whose taker has ended is taken again, at most three times: a handler may end its process.
-- If the outcome was forgotten, all columns but the id and `cancel` are null.
with found as (
    select u.ctid as tid from {schema}.unhandled u
    where u.name = any (%(names)s::text[]) and u.tries < 3
        and not exists (select from {schema}.worker w where w.id = u.worker_id and w.stopped_at is null)
    order by u.ended_at limit 1 for update of u skip locked
), taken as (
    update {schema}.unhandled u set tries = u.tries + 1, worker_id = %(worker_id)s
    where u.ctid = any (array(select tid from found))
    returning u.id, u.cancel
)
select
    t.id, t.cancel,
    f.name, f.args::text, f.kwargs::text, f.options::text, f.payload,
    f.queue, f.priority, f.attempt, f.retries, f.crashes,
    f.due_at, f.result::text
from taken t
left join lateral (select * from {schema}.finished f where f.id = t.id order by f.finished_at desc limit 1) f on true
