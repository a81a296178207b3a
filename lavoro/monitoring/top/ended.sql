-- Tasks that ended since a time, at most `most` of them, by queue and worker, and the time until which it has counted.
with ended as materialized (
    select queue, worker_id, finished_at from {schema}.finished
    where finished_at > %(since)s::timestamptz and finished_at <= statement_timestamp()
    order by finished_at nulls first limit %(most)s
), span as (
    select case when count(*) < %(most)s then statement_timestamp() else max(finished_at) end as until from ended
)
select s.until, e.queue, e.worker_id, count(e.queue) from span s left join ended e on true
where e.queue is null or e.queue <> '' group by 1, 2, 3
