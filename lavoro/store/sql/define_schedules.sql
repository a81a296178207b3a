-- Stores the schedules that the code of an application defines; returns the new ones (true) and the changed ones.
-- A schedule that was defined elsewhere stays as it is; one that did not change is not written.
insert into {schema}.schedule as s (
    name, origin, app, task, args, kwargs, options, timing, zone, in_code,
    missed, missed_most, missed_age, overlap, jitter, starts_at, ends_at, most_runs
)
select
    u.name, 'code', %(app)s, u.task, u.args::json, u.kwargs::json, u.options::json, u.timing, u.zone, u.in_code,
    u.missed, u.missed_most, u.missed_age, u.overlap, u.jitter, u.starts_at, u.ends_at, u.most_runs
from unnest(
    %(name)s::text[], %(task)s::text[], %(args)s::text[], %(kwargs)s::text[], %(options)s::text[], %(timing)s::text[],
    %(zone)s::text[], %(in_code)s::boolean[], %(missed)s::text[], %(missed_most)s::integer[],
    %(missed_age)s::float8[], %(overlap)s::text[], %(jitter)s::float8[], %(starts_at)s::timestamptz[],
    %(ends_at)s::timestamptz[], %(most_runs)s::integer[]
) u (
    name, task, args, kwargs, options, timing, zone, in_code,
    missed, missed_most, missed_age, overlap, jitter, starts_at, ends_at, most_runs
)
order by u.name
on conflict (name) do update set
    app = excluded.app, task = excluded.task, args = excluded.args, kwargs = excluded.kwargs,
    options = excluded.options, timing = excluded.timing, zone = excluded.zone, in_code = excluded.in_code,
    missed = excluded.missed, missed_most = excluded.missed_most, missed_age = excluded.missed_age,
    overlap = excluded.overlap, jitter = excluded.jitter, starts_at = excluded.starts_at,
    ends_at = excluded.ends_at, most_runs = excluded.most_runs, defined_at = clock_timestamp()
where s.origin = 'code' and (
    s.app, s.task, s.args::text, s.kwargs::text, s.options::text, s.timing, s.zone, s.in_code,
    s.missed, s.missed_most, s.missed_age, s.overlap, s.jitter, s.starts_at, s.ends_at, s.most_runs
) is distinct from (
    excluded.app, excluded.task, excluded.args::text, excluded.kwargs::text, excluded.options::text, excluded.timing,
    excluded.zone, excluded.in_code, excluded.missed, excluded.missed_most, excluded.missed_age, excluded.overlap,
    excluded.jitter, excluded.starts_at, excluded.ends_at, excluded.most_runs
)
returning s.name, s.xmax = 0
