-- The latest failures of a span, at most `most` of them, by task and error, with the last one of each.
select f.name, coalesce(f.result->>'exc_type', f.state), count(*), max(f.finished_at),
    extract(epoch from statement_timestamp() - max(f.finished_at))::float8,
    (array_agg(coalesce(f.options->>'task_id', f.id::text) order by f.finished_at desc))[1],
    (array_agg(left(f.result->'exc_message'->>0, 300) order by f.finished_at desc))[1]
from (
    select * from {schema}.finished_failure
    where finished_at > statement_timestamp() - %(span)s::float8 * interval '1 second' and state = 'FAILURE'
    order by finished_at desc nulls last limit %(most)s
) f
group by 1, 2 order by 3 desc, 4 desc limit %(shown)s
