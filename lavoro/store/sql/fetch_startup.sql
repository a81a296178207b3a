-- Tells whether a start-up function of a release has run, and the process that runs or has run it.
select s.ended_at is not null, coalesce(w.node || '/' || w.process, 'a worker that is gone')
from {schema}.startup s left join {schema}.worker w on w.id = s.worker_id
where s.application = %(application)s and s.release = %(release)s and s.name = %(name)s
