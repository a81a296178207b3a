-- Lists the held tasks of other queues that fail if the tasks that wait on these queues are deleted.
-- A task that fails with them may be a member of another barrier in turn.
with recursive doomed (barrier) as (
    (
        select k.barrier::uuid
        from {schema}.waiting w cross join lateral jsonb_object_keys(w.barriers) k (barrier)
        where w.queue = any (%(queues)s::text[]) and w.barriers is not null
        union
        select k.barrier::uuid
        from {schema}.held h cross join lateral jsonb_object_keys(h.barriers) k (barrier)
        where h.queue = any (%(queues)s::text[]) and h.barriers is not null
    )
    union
    select k.barrier::uuid
    from doomed d
    cross join lateral (
        select b.task_id from {schema}.barrier b
        where b.id = d.barrier and b.ended_at is null and b.policy is distinct from 'run' offset 0
    ) b
    cross join lateral (select h.barriers from {schema}.held h where h.id = b.task_id offset 0) h
    cross join lateral jsonb_object_keys(h.barriers) k (barrier)
)
select h.name, count(*)
from doomed d
cross join lateral (
    select b.task_id from {schema}.barrier b
    where b.id = d.barrier and b.ended_at is null and b.policy is distinct from 'run' offset 0
) b
cross join lateral (select h.name, h.queue from {schema}.held h where h.id = b.task_id offset 0) h
where not h.queue = any (%(queues)s::text[])
group by h.name
order by count(*) desc, h.name
