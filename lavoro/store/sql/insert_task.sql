-- Stores one task and, if a worker sleeps on its queue, wakes it; a repeat of the same id changes nothing.
-- The scalar twin of insert_tasks: one row through unnest() costs a single .delay() 15 to 20 % of its rate.
insert into lavoro.waiting (id, queue, priority, retries, due, expires, name, args, kwargs, options, payload)
values (%(id)s, %(queue)s, %(priority)s, %(retries)s,
    greatest(coalesce(%(eta)s::timestamptz, clock_timestamp() + %(countdown)s::float8 * interval '1 second'),
        clock_timestamp()),
    coalesce(%(expires)s::timestamptz, clock_timestamp() + %(expires_in)s::float8 * interval '1 second'),
    %(name)s, %(args)s::json, %(kwargs)s::json, %(options)s::json, %(payload)s)
on conflict (id) do nothing
-- A sleeping node holds the queue's lock shared. When it is free nobody sleeps, and NOTIFY, which takes a lock on the
-- whole database at commit, is spared.
returning case
    when pg_try_advisory_lock(hashtextextended('lavoro_queue:' || queue, 0))
        then pg_advisory_unlock(hashtextextended('lavoro_queue:' || queue, 0))::text
    else pg_notify('lavoro_wake',
        case when due > clock_timestamp() then '~' else '+' end || priority || ':' || queue)::text
end
