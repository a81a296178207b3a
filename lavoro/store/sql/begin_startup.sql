-- Gives a start-up function of a release to a worker, unless it has run, or a worker with a lease runs it.
-- Two workers that ask at once: the second waits for the first one's commit, and then finds its lease.
insert into {schema}.startup as held (application, release, name, worker_id)
values (%(application)s, %(release)s, %(name)s, %(worker_id)s)
on conflict (application, release, name) do update
set worker_id = excluded.worker_id, started_at = clock_timestamp()
where held.ended_at is null and not exists (
    select from {schema}.worker w where w.id = held.worker_id and w.stopped_at is null
)
returning 1
