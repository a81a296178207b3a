-- Lists the claimed tasks that have a revoked stamp.
select r.id from {schema}.running r
where r.id = any (%(ids)s::uuid[]) and exists (
    select from {schema}.revoked_stamp s where (r.options->'stamps'->s.header)::jsonb @> s.value
)
