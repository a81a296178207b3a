-- Tasks that the barrier of a held task still counts on, and how many it waits for; without a barrier no row.
select b.remaining, b.size, t.id, t.name, t.stage, t.queue
from {schema}.held h
join {schema}.barrier b on b.id = h.barrier and b.ended_at is null
left join lateral (
    select coalesce(options->>'task_id', id::text) as id, name, 'running' as stage, queue
    from {schema}.running where barriers ? b.id::text
    union all
    select coalesce(options->>'task_id', id::text), name, 'held', queue
    from {schema}.held where barriers ? b.id::text
    union all
    select coalesce(options->>'task_id', id::text), name, 'waiting', queue
    from {schema}.waiting where barriers ? b.id::text
    limit %(most)s
) t on true
where h.id = %(id)s
