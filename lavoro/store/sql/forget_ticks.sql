-- Deletes ticks that were recorded more than `kept` seconds ago, at most 10,000; no tick comes again without them.
delete from {schema}.tick t where (t.schedule, t.due_at) in (
    select o.schedule, o.due_at from {schema}.tick o
    where o.recorded_at < clock_timestamp() - %(kept)s::float8 * interval '1 second'
    order by o.recorded_at limit 10000 for update skip locked
)
returning 1
