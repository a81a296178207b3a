"""Periodic tasks: how late a tick's task starts when a thousand schedules are due in the same second."""

from __future__ import annotations

from functools import partial

from benchmarks.output.percentiles import percentiles
from benchmarks.stage.hits import new_hits
from benchmarks.stage.processes import environment, migrate, produce, running, worker
from benchmarks.stage.server import connect, empty_database
from benchmarks.values import Sample, Series, Setting, Step

TOGETHER, OTHERS, WARM = 1_000, 9_000, 100
DEFINE = """
    insert into lavoro.schedule (name, task, args, timing, starts_at, overlap)
    select %s || i, 'benchmarks.subjects.tasks.noop', json_build_array(extract(epoch from at)), '@every 1d', at, 'allow'
    from generate_series(1, %s) i,
        (select date_trunc('second', clock_timestamp()) + %s * interval '1 second') x (at)
"""


def steps(setting: Setting) -> list[Step]:
    """Measure two nodes, beside schedules that are not due."""
    return [partial(_together, setting)]


def _together(setting: Setting) -> list[Sample | Series]:
    count = setting.scaled(TOGETHER)
    with empty_database(setting.server) as dsn, new_hits() as hits:
        migrate(dsn)
        env = environment(dsn, hits)
        with connect(dsn) as connection:
            connection.execute(DEFINE, ("other", OTHERS, 86_400))
        with running([worker(1), worker(1)], env) as group:
            produce("preload", WARM, env=env)
            group.wait_until(lambda: hits.count() >= WARM, "the first tasks started")
            with connect(dsn) as connection:
                connection.execute(DEFINE, ("due", count, 4))
            group.wait_until(lambda: hits.count() >= WARM + count, "the last tick's task started")
        late = hits.values(skip=WARM)
    figure = f"start after the tick, {count:,} in one second"
    return [*percentiles("lavoro", figure, late)]
