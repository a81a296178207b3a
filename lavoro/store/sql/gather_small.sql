-- Reads the results of several barriers with few and small results, which all are successes in JSON: for each barrier
-- their number, their size in bytes, and a JSON array. Others have no row: gather_members reads each of them alone.
select b.id, m.members, m.bytes, m.results
from unnest(%(barriers)s::uuid[]) as w (id)
cross join lateral (select b.id from {schema}.barrier b where b.id = w.id and b.size <= 100 offset 0) b
cross join lateral (
    select
        count(*) as members, sum(coalesce(octet_length(m.result::text), 0)) as bytes,
        bool_and(m.state = 'SUCCESS' and m.result_payload is null) as plain,
        '[' || string_agg(coalesce(m.result::text, 'null'), ',' order by m.index) || ']' as results
    from {schema}.member m where m.barrier = w.id offset 0
) m
where m.plain and m.bytes <= 8192
