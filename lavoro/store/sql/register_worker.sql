-- Gives a child process its worker id and its first lease.
insert into lavoro.worker (node, process, host, pid, pool, slots, queues, release, lease, expires)
values (%(node)s, %(process)s, %(host)s, %(pid)s, %(pool)s, %(slots)s, %(queues)s, %(release)s,
    %(lease)s::float8 * interval '1 second', clock_timestamp() + %(lease)s::float8 * interval '1 second')
returning id
