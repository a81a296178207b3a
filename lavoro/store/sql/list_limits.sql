-- Lists limits in the order of their keys, with what they count and hold; `keys`: only these.
select
    l.key, l.running, l.rate, l.per, l.burst, l.fixed,
    case when l.paused_until > clock_timestamp() then l.paused_until end as paused_until,
    case when l.running is not null then l.taken end as taken,
    held.number, held.oldest,
    l.used_at
from {schema}.limit_state l
cross join lateral (
    select count(*) as number,
        extract(epoch from greatest(clock_timestamp() - min(h.due_at), interval '0'))::float8 as oldest
    from {schema}.held h where h.limited_by = l.key and l.holds
) held
where (%(keys)s::text[] is null or l.key = any (%(keys)s::text[]))
order by l.key
limit %(most)s
