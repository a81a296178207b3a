-- Orphans: tasks that have run for five minutes, and whose worker has ended; counted by worker.
select r.worker_id, count(*) from {schema}.running r
where r.started_at < clock_timestamp() - interval '5 minutes'
    and not exists (select from {schema}.worker w where w.id = r.worker_id and w.stopped_at is null)
group by r.worker_id order by 1
