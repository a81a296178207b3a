-- Does what finish_tasks does, and stores the tasks that follow those whose outcome is accepted.
-- `heirs`: the task that takes over the barriers of the one that ends, which is then not counted.
-- `replaced`: the task is not over: one of the messages has its id, and goes on with its barriers and attempts.
-- `never_ids`: steps that will not be sent; they end as their parent does.
with given as materialized (
    select * from unnest(
        %(ids)s::uuid[], %(attempts)s::int4[], %(states)s::text[], %(results)s::text[],
        %(payloads)s::bytea[], %(tracebacks)s::text[], %(runtimes)s::float4[], %(children)s::text[],
        %(heirs)s::uuid[], %(replaced)s::bool[]
    ) as x (id, attempt, state, result, payload, traceback, runtime, children, heir, replaced)
), message as materialized (
    select * from unnest(
        %(parents)s::uuid[],
        %(message_ids)s::uuid[], %(names)s::text[], %(queues)s::text[], %(priorities)s::int2[], %(retries)s::int4[],
        %(etas)s::timestamptz[], %(countdowns)s::float8[], %(expires)s::timestamptz[], %(expires_in)s::float8[],
        %(args)s::text[], %(kwargs)s::text[], %(options)s::text[], %(message_payloads)s::bytea[],
        %(barriers)s::text[], %(held_for)s::uuid[], %(expects)s::int4[], %(policies)s::text[], %(blockers)s::text[],
        %(ancestors)s::text[], %(keys)s::text[]
    ) as x (
        parent,
        id, name, queue, priority, retries,
        eta, countdown, expires_at, expires_in,
        args, kwargs, options, payload,
        barriers, held_for, expects, policy, blockers, ancestors, keys
    )
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
    returning r.*
), ended as materialized (
    -- Shares of its barriers: '' has those that its end counts, the id of a message those that it takes over.
    -- Those without marks of single steps go to one of the two as they are.
    select d.*, g.heir, coalesce(g.replaced, false) as replaced,
        case
            when jsonb_path_exists(d.barriers, '$.*.*') then {schema}.hand_on(
                d.id, d.barriers, case when g.replaced then coalesce(g.heir, d.id) else g.heir end,
                coalesce(g.replaced, false),
                array(select m.id from message m where m.parent = d.id order by m.id),
                array(select m.options from message m where m.parent = d.id order by m.id)
            )
            when d.barriers is not null then jsonb_build_object(
                case when g.replaced then coalesce(g.heir, d.id)::text else coalesce(g.heir::text, '') end, d.barriers
            )
        end as shares
    from done d join given g on g.id = d.id
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
    where g.replaced is not true
), replacements as (
    insert into {schema}.attempt (id, number, worker_id, state, started_at, heir)
    select e.id, e.attempt, e.worker_id, 'REPLACED', e.started_at, nullif(e.heir, e.id) from ended e where e.replaced
), never as (
    insert into {schema}.finished (
        id, state, worker_id, queue, priority, attempt, retries, crashes,
        due_at, created_at,
        name, result
    )
    select
        n.id, g.state, e.worker_id, e.queue, e.priority, 0, 0, 0,
        e.due_at, e.created_at,
        n.name, g.result::json
    from unnest(%(never_parents)s::uuid[], %(never_ids)s::uuid[], %(never_names)s::text[]) as n (parent, id, name)
    join ended e on e.id = n.parent join given g on g.id = n.parent
    returning id
), awaited as materialized (
    -- A process that waits for results holds this lock shared. If the lock is free, nothing is notified.
    select {schema}.is_awaited('{prefix}_results') as by_callers
)
select count(*), (
    select count(pg_notify('{prefix}_done', page.ids)) from (
        select string_agg(n.id::text, ',') as ids
        from (
            select t.id, row_number() over () / 200 as page
            from (select id from ended where not replaced union all select id from never) t
        ) n group by n.page
    ) page where (select by_callers from awaited)),
    {schema}.follow(
        (
            select array_agg(row(
                m.id, m.queue, m.priority, case when e.replaced and m.id = e.id then e.attempt else 0 end, m.retries,
                m.eta, m.countdown, m.expires_at, m.expires_in,
                m.name, m.args::json, m.kwargs::json, m.options::json, m.payload,
                m.barriers::jsonb - array(select jsonb_object_keys(e.shares->(m.id::text))),
                e.shares->(m.id::text),
                m.held_for, m.expects, m.policy, m.blockers::uuid[], m.ancestors::jsonb,
                -- A task that goes on under its id keeps its unique key.
                case when e.replaced and m.id = e.id and e.keys ? 'unique'
                    then coalesce(m.keys::jsonb, '{}') || jsonb_build_object('unique', e.keys->'unique')
                    else m.keys::jsonb end
            )::{schema}.message)
            from message m join ended e on e.id = m.parent
        ),
        (
            select array_agg(row(
                e.id, case when g.state <> 'SUCCESS' then e.options->>'task_id' end, e.shares->'',
                case when g.state = 'IGNORED' then coalesce(e.state, g.state) else g.state end,
                case when g.state = 'IGNORED' then e.progress else g.result::json end,
                g.payload, null
            )::{schema}.ending)
            from ended e join given g on g.id = e.id
            where e.shares->'' is not null --@heir
        )
    ),
    {schema}.free_keys(
        (select array_agg(id) from ended where keys is not null and not replaced),
        (select array_agg(keys) from ended where keys is not null and not replaced)
    ),
    -- Last: other claims and ends wait for the limits.
    {schema}.give_slots((select array_agg(keys) from ended where keys is not null), true)
from done
