-- Held tasks whose barrier cannot end: it does not exist, or fewer tasks count for it than it waits for.
with counted as (
    select key.barrier, count(*) as members
    from (
        select barriers from {schema}.waiting
        union all select barriers from {schema}.running
        union all select barriers from {schema}.held
    ) t
    cross join lateral jsonb_object_keys(t.barriers) key (barrier)
    group by key.barrier
)
select h.id::text, h.name, b.remaining, coalesce(c.members, 0)
from {schema}.held h
left join {schema}.barrier b on b.id = h.barrier and b.ended_at is null
left join counted c on c.barrier = h.barrier::text
where b.id is null or b.remaining > coalesce(c.members, 0)
order by h.created_at limit 20
