-- Lists the tasks for later of the queues that live nodes serve, the next first, each under one of their nodes.
with served as materialized (
    select distinct on (queue) queue, node
    from {schema}.worker, unnest(queues) as queue
    where stopped_at is null and expires_at > clock_timestamp()
    order by queue, node
)
select
    s.node, t.id, t.name, t.args::text, t.kwargs::text, t.options->>'task_id', t.queue, t.priority, t.attempt, t.due_at
from {schema}.waiting t join served s on s.queue = t.queue
where t.due_at > clock_timestamp()
order by t.due_at, t.id
limit %(most)s
