-- Stores when entries of an application's scheduler class were sent last.
insert into {schema}.scheduler_entry (app, name, last_at, runs)
select %(app)s, u.name, u.last_at, u.runs
from unnest(%(name)s::text[], %(last_at)s::timestamptz[], %(runs)s::bigint[]) u (name, last_at, runs)
order by u.name
on conflict (app, name) do update set last_at = excluded.last_at, runs = excluded.runs
