-- Whether the last partition ends in less than span seconds, or there is none.
select coalesce(%(last)s::timestamptz < clock_timestamp() + %(span)s::float8 * interval '1 second', true)
