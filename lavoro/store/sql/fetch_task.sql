-- Finds one task in any of the four tables; without a row, the task is unknown or its result has expired.
(
    select
        'finished' as stage, f.state, f.result::text as result, f.result_payload, f.traceback,
        f.name, f.args::text as args, f.kwargs::text as kwargs, f.options::text as options, f.payload,
        f.queue, f.retries, f.attempt,
        f.worker_id, (select w.node from {schema}.worker w where w.id = f.worker_id) as worker, null::int as pid,
        f.created_at, f.started_at, f.finished_at, f.runtime,
        f.children::text as children, null as reason
    from {schema}.finished f
    where f.id = %(id)s
    -- A call may reuse the id of a finished task.
    order by f.finished_at desc limit 1
)
union all
select
    'running', r.state, r.progress::text, null, null,
    r.name, r.args::text, r.kwargs::text, r.options::text, r.payload,
    r.queue, r.retries, r.attempt,
    r.worker_id, (select w.node from {schema}.worker w where w.id = r.worker_id),
    (select w.pid from {schema}.worker w where w.id = r.worker_id),
    r.created_at, r.started_at, null, null,
    null, r.cancel
from {schema}.running r
where r.id = %(id)s
union all
-- A task that waits for a retry shows the error of its last start.
select
    'waiting', case when w.retries > 0 then 'RETRY' end, a.error::text, null, a.traceback,
    w.name, w.args::text, w.kwargs::text, w.options::text, w.payload,
    w.queue, w.retries, w.attempt,
    null, null, null,
    w.created_at, null, null, null,
    null, w.reason
from {schema}.waiting w
left join lateral (
    select error, traceback from {schema}.attempt a
    where a.id = w.id and w.retries > 0 and a.state = 'RETRY'
    order by a.number desc limit 1
) a on true
where w.id = %(id)s
union all
select
    'held', null, null, null, null,
    h.name, h.args::text, h.kwargs::text, h.options::text, h.payload,
    h.queue, h.retries, h.attempt,
    null, null, null,
    h.created_at, null, null, null,
    null, coalesce((
        select 'waits for ' || b.remaining || ' of ' || b.size || case b.size when 1 then ' task' else ' tasks' end
        from {schema}.barrier b where b.id = h.barrier
    ), 'waits for a barrier that does not exist')
from {schema}.held h
where h.id = %(id)s
limit 1
