-- Returns whether a task that ended without its process has handlers that no live process is calling.
select exists (
    select from {schema}.unhandled u where u.tries < 3
        and not exists (select from {schema}.worker w where w.id = u.worker_id and w.stopped_at is null)
)
