-- Queues that are paused, and how many tasks wait on them.
select q.name, extract(epoch from clock_timestamp() - q.paused_at)::float8,
    (select count(*) from {schema}.waiting w where w.queue = q.name)
from {schema}.queue q where q.paused_at is not null order by q.name
