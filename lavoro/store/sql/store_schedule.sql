-- Stores a schedule that app.schedules defines; returns no row if there is one of that name that is not to be replaced.
-- A replaced one keeps its state, and the times of its next tick unless its own times have changed.
insert into {schema}.schedule as s (
    name, origin, app, task, args, kwargs, options, timing, zone, in_code,
    missed, missed_most, missed_age, overlap, jitter, starts_at, ends_at, most_runs, paused_at
)
values (
    %(name)s, 'api', %(app)s, %(task)s, %(args)s::json, %(kwargs)s::json, %(options)s::json, %(timing)s, %(zone)s,
    %(in_code)s, %(missed)s, %(missed_most)s, %(missed_age)s::float8, %(overlap)s, %(jitter)s, %(starts_at)s,
    %(ends_at)s, %(most_runs)s, case when %(paused)s then clock_timestamp() end
)
on conflict (name) do update set
    origin = 'api', app = coalesce(excluded.app, s.app), task = excluded.task, args = excluded.args,
    kwargs = excluded.kwargs, options = excluded.options, timing = excluded.timing, zone = excluded.zone,
    in_code = excluded.in_code,
    missed = excluded.missed, missed_most = excluded.missed_most, missed_age = excluded.missed_age,
    overlap = excluded.overlap, jitter = excluded.jitter, starts_at = excluded.starts_at,
    ends_at = excluded.ends_at, most_runs = excluded.most_runs, defined_at = clock_timestamp(),
    paused_at = case when %(paused)s then coalesce(s.paused_at, excluded.paused_at) else s.paused_at end
where %(replace)s
returning s.xmax = 0
