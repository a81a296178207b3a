-- Lists the waiting tasks, and if wanted the running ones, that have one of these stamps. A stamp may be a list.
-- It reads all of them: stamps have no index, so that a task without stamps pays nothing.
with wanted as materialized (
    select * from unnest(%(headers)s::text[], %(values)s::text[]::jsonb[]) as x (header, value)
), stamped as (
    select id, options from {schema}.waiting where strpos(options::text, '"stamps"') > 0
    union all
    select id, options from {schema}.running where %(running)s and strpos(options::text, '"stamps"') > 0
)
select s.id, w.header, w.value::text
from stamped s join wanted w on (s.options->'stamps'->w.header)::jsonb @> w.value
