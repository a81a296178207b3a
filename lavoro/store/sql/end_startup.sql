-- Records that a start-up function has run, if the worker still has it and its lease.
update {schema}.startup s set ended_at = clock_timestamp()
where s.application = %(application)s and s.release = %(release)s and s.name = %(name)s
    and s.worker_id = %(worker_id)s and s.ended_at is null
    and exists (select from {schema}.worker w where w.id = s.worker_id and w.stopped_at is null)
returning 1
