-- Reads the results of a barrier's members in the order of their indexes: their number, their size in bytes, and
-- a JSON array, with null in the place of a failed member and of a result in another serializer, and the number of
-- these. If they are larger than `limit` bytes, the array is null.
with found as materialized (
    select count(*) as members, coalesce(sum(
        coalesce(octet_length(m.result::text), 0) + coalesce(octet_length(m.result_payload), 0)
    ), 0)::bigint as bytes,
    count(*) filter (where m.state <> 'SUCCESS' or m.result_payload is not null) as others
    from {schema}.member m where m.barrier = %(barrier)s::uuid
)
select f.members, f.bytes, case when f.bytes <= %(limit)s::bigint then (
    select '[' || coalesce(string_agg(
        case when m.state = 'SUCCESS' and m.result_payload is null then coalesce(m.result::text, 'null')
        else 'null' end, ',' order by m.index
    ), '') || ']'
    from {schema}.member m where m.barrier = %(barrier)s::uuid
) end, f.others
from found f
