-- Deletes minutes of the history that are older than `minutes` seconds, hours and days that are older than `longer`.
-- Counted from the last minute that was counted: what is still to be summed is kept. At most 50,000 rows.
delete from {schema}.history h
using {schema}.history_mark m
where (h.period, h.bucket, h.queue, h.name, h.state) in (
    select o.period, o.bucket, o.queue, o.name, o.state
    from {schema}.history o
    where (o.period = 'minute' and o.bucket < m.until - %(minutes)s::float8 * interval '1 second')
        or (o.period in ('hour', 'day') and o.bucket < m.until - %(longer)s::float8 * interval '1 second')
    limit 50000 for update skip locked
)
returning 1
