"""Whether dropping millions of finished tasks holds up the work that goes on meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from benchmarks.output.percentiles import percentiles
from benchmarks.stage import fill
from benchmarks.stage.hits import Hits, new_hits
from benchmarks.stage.processes import Group, environment, migrate, produce, producing, running, worker
from benchmarks.stage.server import connect, empty_database
from benchmarks.values import Sample, Series, Setting, Step
from lavoro.store.database import Database
from lavoro.store.schema import partitions

ROWS, PARTITIONS = 1_000_000, 4
RATE, SECONDS, WARM, LIMIT = 100, 10.0, 100, 60.0
DAY = 86_400.0
OLD = """
create table lavoro.finished_success_old_{number} partition of lavoro.finished_success
for values from (now() - interval '{begins} days') to (now() - interval '{ends} days')"""


def steps(setting: Setting) -> list[Step]:
    """Measure a paced stream of calls, first alone, then while four old partitions are dropped."""
    return [partial(_lavoro, setting)]


def _lavoro(setting: Setting) -> list[Sample | Series]:
    rows, seconds = setting.scaled(ROWS), setting.seconds(SECONDS)
    with empty_database(setting.server) as dsn, new_hits() as hits:
        migrate(dsn)
        env = environment(dsn, hits)
        with running([worker(1)], env) as group:
            produce("preload", WARM, env=env)
            group.wait_until(lambda: hits.count() >= WARM, "the first tasks started")
            _make_old(dsn, rows)  # after the worker's own look at what is old, at its start
            alone = _stream(group, hits, env, seconds, lambda: None)
            taken: list[float] = []
            beside = _stream(group, hits, env, seconds, lambda: taken.append(_drop(dsn, rows)))
    figure = f"call to start, {RATE} calls/s"
    return [
        Sample("lavoro", f"retention, {rows:,} finished tasks dropped", "s", taken[0]),
        *percentiles("lavoro", f"retention, {figure}, before", alone),
        *percentiles("lavoro", f"retention, {figure}, while dropping", beside),
        Sample("lavoro", f"retention, {figure}, while dropping, longest", "ms", max(beside) * 1e3),
    ]


def _make_old(dsn: str, rows: int) -> None:
    """Make partitions that are over, and fill them."""
    with connect(dsn) as connection:
        for number in range(PARTITIONS):
            begins = 40 - number
            connection.execute(OLD.format(number=number, begins=begins, ends=begins - 1).encode())
            fill.finished(connection, rows // PARTITIONS, begin=-(begins - 0.1) * DAY, span=0.8 * DAY)
        connection.execute(b"checkpoint")


def _stream(
    group: Group, hits: Hits, env: dict[str, str], seconds: float, meanwhile: Callable[[], object]
) -> list[float]:
    """Call at a steady rate, do something else after a third of the time, and return the delays."""
    before, calls = hits.count(), round(RATE * seconds)
    with producing("paced", calls, RATE, env=env):
        group.wait_until(lambda: hits.count() >= before + calls / 3, "the first third started")
        meanwhile()
        group.wait_until(lambda: hits.count() >= before + calls, "the last call started")
    return hits.values(skip=before)


def _drop(dsn: str, rows: int) -> float:
    """Do what the worker's upkeep does until nothing old is left; return the seconds."""
    database, start = Database(dsn), time.perf_counter()
    with database.tx() as tx:
        dropped = 0
        while dropped < PARTITIONS and time.perf_counter() - start < LIMIT:  # one in use is left for the next time
            dropped += len(partitions.drop_behind(tx, partitions.DEFAULT_RETENTION))
    database.dispose()
    taken = time.perf_counter() - start
    with connect(dsn) as connection:
        left = connection.execute("select count(*) from lavoro.finished where finished_at < now() - interval '2 days'")
        if left.fetchall()[0][0]:
            raise RuntimeError(f"{rows} old rows were to be dropped, and some are left")
    return taken
