-- Held tasks whose barrier cannot end: it does not exist, or fewer tasks count for it than it waits for.
with counted as (
    select key.barrier, sum(
        case jsonb_typeof(key.index) when 'object' then (select count(*) from jsonb_object_keys(key.index)) else 1 end
    ) as members
    from (
        select barriers from {schema}.waiting
        union all select barriers from {schema}.running
        union all select barriers from {schema}.held
    ) t
    cross join lateral jsonb_each(t.barriers) key (barrier, index)
    group by key.barrier
)
select h.id::text, h.name, b.remaining, coalesce(c.members, 0)
from {schema}.held h
left join {schema}.barrier b on b.id = h.barrier and b.ended_at is null
left join counted c on c.barrier = h.barrier::text
where h.limited_by is null and (b.id is null or b.remaining > coalesce(c.members, 0))
order by h.created_at limit 20
