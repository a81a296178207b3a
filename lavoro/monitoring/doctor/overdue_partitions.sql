-- Partitions that ended more than late seconds ago.
select partition from unnest(%(names)s::text[], %(ends)s::timestamptz[]) as p (partition, ends)
where ends < clock_timestamp() - %(late)s::float8 * interval '1 second' order by ends
