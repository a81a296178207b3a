-- Names workers without a lease that hold tasks all the same: a claim that was under way while its lease was ended.
select distinct r.worker_id from lavoro.running r
where r.started < clock_timestamp() - interval '1 minute'
    and not exists (select from lavoro.worker w where w.id = r.worker_id and w.stopped is null)
