-- Remembers stamps whose tasks must not start.
insert into {schema}.revoked_stamp (header, value)
select distinct * from unnest(%(headers)s::text[], %(values)s::text[]::jsonb[]) as x (header, value)
on conflict (header, value) do update set revoked_at = clock_timestamp()
