-- Gives a child its worker id and its first lease, and notifies idle nodes when that lease expires.
with registered as (
    insert into {schema}.worker (
        node, process, host, pid, pool, slots, queues, release,
        lease, expires_at, tasks, runs_schedules, task_events
    )
    values (
        %(node)s, %(process)s, %(host)s, %(pid)s, %(pool)s, %(slots)s, %(queues)s, %(release)s,
        %(lease)s::float8 * interval '1 second', clock_timestamp() + %(lease)s::float8 * interval '1 second',
        %(tasks)s::text[], %(runs_schedules)s, %(task_events)s
    )
    returning id
)
select id from registered, pg_notify('{prefix}_wake', 'lease:' || %(lease)s::float8)
