-- Stores the tasks of canvases: some are members of barriers, and some are held by one.
select {schema}.store_messages(
    array(
        select row(
            id, queue, priority, 0, retries,
            eta, countdown, expires_at, expires_in,
            name, args::json, kwargs::json, options::json, payload,
            barriers::jsonb, null,
            held_for, expects, policy, blockers::uuid[], ancestors::jsonb, keys::jsonb
        )::{schema}.message
        from unnest(
            %(ids)s::uuid[], %(names)s::text[], %(queues)s::text[], %(priorities)s::int2[], %(retries)s::int4[],
            %(etas)s::timestamptz[], %(countdowns)s::float8[], %(expires)s::timestamptz[], %(expires_in)s::float8[],
            %(args)s::text[], %(kwargs)s::text[], %(options)s::text[], %(payloads)s::bytea[],
            %(barriers)s::text[], %(held_for)s::uuid[], %(expects)s::int4[], %(policies)s::text[], %(blockers)s::text[],
            %(ancestors)s::text[], %(keys)s::text[]
        ) as x (
            id, name, queue, priority, retries, eta, countdown, expires_at, expires_in, args, kwargs, options, payload,
            barriers, held_for, expects, policy, blockers, ancestors, keys
        )
    ),
    %(repeated)s, false, %(always)s
)
