-- Deletes held tasks for good; returns those that it deleted, and those that it spared because others wait for them.
-- With `cascade` these are deleted too: each counts as revoked.
with candidate as materialized (
    select h.id, (
        strpos(h.options::text, '"chain"') > 0
        or exists (
            select from jsonb_object_keys(h.barriers) k join {schema}.barrier b on b.id = k::uuid
            where b.ended_at is null
        )
    ) is true as awaited
    from {schema}.held h where h.id = any (%(ids)s::uuid[])
)
select unnest({schema}.end_held(
    array(select id from candidate where %(cascade)s or not awaited),
    'REVOKED', '{"exc_type":"TaskRevokedError","exc_module":"lavoro.exceptions","exc_message":["deleted"]}', null, false
)) as id, false as awaited
union all
select id, true from candidate where awaited and not %(cascade)s
