-- Moves running tasks to finished with their outcomes if worker and attempt still hold them; returns how many it moved.
with given as materialized (
    select * from unnest(
        %(ids)s::uuid[], %(attempts)s::int4[], %(states)s::text[], %(results)s::text[],
        %(payloads)s::bytea[], %(tracebacks)s::text[], %(runtimes)s::float4[], %(children)s::text[]
    ) as x (id, attempt, state, result, payload, traceback, runtime, children)
), held as materialized (
    -- `= any(array)`: a join of running with unnest() becomes a full scan once statistics call the table empty.
    -- In the order of ids: two statements that meet the same rows never wait for each other in a circle.
    select r.ctid as tid, r.id, r.attempt from {schema}.running r
    where r.id = any (%(ids)s::uuid[])
        and r.worker_id = %(worker_id)s --@worker
    order by r.id for update
), done as (
    delete from {schema}.running r --@delete
    where r.ctid = any (array(
        select h.tid from held h join given g on g.id = h.id
            and g.attempt = h.attempt --@attempt
    ))
    -- `barriers` twice: as the first column it is read without those before it.
    returning r.barriers as counting, r.*
), stored as (
    insert into {schema}.finished (
        id, state, worker_id, queue, priority, attempt, retries, crashes, runtime,
        due_at, created_at, started_at,
        name, args, kwargs, options, payload,
        result, result_payload, traceback, children, keys
    )
    select
        d.id,
        -- A task that raised Ignore keeps the state that it had set itself.
        case when g.state = 'IGNORED' then coalesce(d.state, g.state) else g.state end,
        d.worker_id, d.queue, d.priority, d.attempt, d.retries, d.crashes, g.runtime,
        d.due_at, d.created_at, d.started_at,
        d.name, d.args, d.kwargs, d.options, d.payload,
        case when g.state = 'IGNORED' then d.progress else g.result::json end,
        g.payload, g.traceback, g.children::json, d.keys
    from done d join given g on g.id = d.id
    returning id
), awaited as materialized (
    -- A process that waits for results holds this lock shared. If the lock is free, nothing is notified.
    select {schema}.is_awaited('{prefix}_results') as by_callers
)
select count(*), (
    select count(pg_notify('{prefix}_done', page.ids)) from (
        select string_agg(n.id::text, ',') as ids
        from (select id, row_number() over () / 200 as page from done) n group by n.page
    ) page where (select by_callers from awaited)),
    -- The outcomes are stored before barriers are locked, and not as the last step of the statement.
    (select count(*) from stored where exists (select from done where counting is not null)),
    {schema}.count_members((
        select array_agg(row(
            c.id, case when c.state <> 'SUCCESS' then c.options->>'task_id' end, c.barriers,
            case when c.state = 'IGNORED' then coalesce(c.own_state, c.state) else c.state end,
            case when c.state = 'IGNORED' then c.progress else c.result::json end,
            c.payload, case when c.state <> 'SUCCESS' then c.options end
        )::{schema}.ending)
        -- Each half begins with a test of one table: most batches have no such row, and are not joined.
        from (
            select d.id, d.options, d.barriers, d.state as own_state, d.progress, g.state, g.result, g.payload
            from done d join given g on g.id = d.id
            where d.counting is not null --@count
            union all
            select d.id, d.options, d.barriers, d.state, d.progress, g.state, g.result, g.payload
            from given g join done d on d.id = g.id
            where g.state <> 'SUCCESS' and d.counting is null and strpos(d.options::text, '"chain"') > 0
        ) c
    )),
    {schema}.free_keys(
        (select array_agg(id) from done where keys is not null),
        (select array_agg(keys) from done where keys is not null)
    ),
    -- Last: other claims and ends wait for the limits.
    {schema}.give_slots((select array_agg(keys) from done where keys is not null), true) --@slots
from done
