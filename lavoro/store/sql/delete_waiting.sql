-- Deletes waiting tasks for good; returns those that it deleted, and those that it spared because others wait for them.
-- With `cascade` these are deleted too: each counts as revoked, and the steps behind it in its chain end.
with candidate as materialized (
    select w.ctid as tid, w.id, (
        strpos(w.options::text, '"chain"') > 0
        or exists (
            select from jsonb_object_keys(w.barriers) k join {schema}.barrier b on b.id = k::uuid
            where b.ended_at is null
        )
    ) is true as awaited
    from {schema}.waiting w where w.id = any (%(ids)s::uuid[]) order by w.id for update
), gone as (
    delete from {schema}.waiting w
    where w.ctid = any (array(select tid from candidate where %(cascade)s or not awaited))
    returning w.id, w.barriers, w.options, w.keys
), counted as materialized (
    select {schema}.count_members(array_agg(row(
        id, options->>'task_id', barriers, 'REVOKED',
        '{"exc_type":"TaskRevokedError","exc_module":"lavoro.exceptions","exc_message":["deleted"]}'::json, null,
        options
    )::{schema}.ending)) as number
    from gone where barriers is not null or strpos(options::text, '"chain"') > 0 --@count
), freed as materialized (
    select
        {schema}.free_keys(array_agg(id), array_agg(keys)) as keys,
        {schema}.give_slots(array_agg(keys), false) as slots
    from gone where keys is not null
)
select id, false as awaited from gone cross join counted cross join freed
union all
select id, true from candidate where awaited and not %(cascade)s
