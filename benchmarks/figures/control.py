"""How soon a worker carries out a command, idle and under load, and how long it takes to list running tasks."""

from __future__ import annotations

import time
from functools import partial

from benchmarks.output.percentiles import percentiles
from benchmarks.stage.hits import new_hits
from benchmarks.stage.processes import environment, migrate, produce, running, worker
from benchmarks.stage.server import connect, empty_database
from benchmarks.values import Sample, Series, Setting, Step
from lavoro import Lavoro

COMMANDS, PAUSE, LISTS = 300, 0.02, 10
LOAD = 200_000
"""Tasks that wait when the commands begin: more than a worker runs meanwhile."""
DELAYS = """
select extract(epoch from n.replied_at - c.sent_at)::float8
from lavoro.command c join lavoro.command_node n on n.command_id = c.id where n.replied_at is not null
"""
NODES = """
insert into lavoro.worker (node, process, host, pid, pool, slots, queues, release, lease, expires_at, tasks)
select 'node' || number || '@here', 0, 'here', number, 'gevent', 200, array['celery'], '1', '1 hour',
    clock_timestamp() + interval '1 hour', array['add'] from generate_series(1, 50) as number;
insert into lavoro.running (id, worker_id, queue, priority, attempt, retries, crashes, due_at, created_at, name, args)
select gen_random_uuid(), w.id, 'celery', 0, 1, 0, 0, now(), now(), 'add', '[1, 2]'
from lavoro.worker w cross join generate_series(1, 200);
"""


def steps(setting: Setting) -> list[Step]:
    """Measure Lavoro, in which commands are rows; the others have none to compare."""
    return [
        partial(_commands, setting, "idle", 0),
        partial(_commands, setting, "under load", LOAD),
        partial(_lists, setting),
    ]


def _commands(setting: Setting, how: str, load: int) -> list[Sample | Series]:
    """Send commands one after the other, and read from their rows when each had been carried out."""
    count = max(20, round(COMMANDS * setting.scale))
    with empty_database(setting.server) as dsn, new_hits() as hits:
        migrate(dsn)
        env = environment(dsn, hits)
        app = Lavoro("control", broker_url=dsn, set_as_current=False)
        with running([worker(1)], env) as group:
            produce("preload", 100, env=env)
            group.wait_until(lambda: hits.count() >= 100, "the first tasks started")
            if load:
                produce("preload", setting.scaled(load), env=env)
            for _ in range(count):
                app.control.broadcast("ping")
                time.sleep(PAUSE)
            with connect(dsn) as connection:
                group.wait_until(lambda: len(connection.execute(DELAYS).fetchall()) >= count, "the last reply")
                delays = [row[0] for row in connection.execute(DELAYS)]
        app.database.dispose()
    return [*percentiles("lavoro", f"command to its effect, {how}", delays)]


def _lists(setting: Setting) -> list[Sample | Series]:
    """List 10,000 running tasks of 50 nodes."""
    with empty_database(setting.server) as dsn:
        migrate(dsn)
        with connect(dsn) as connection:
            connection.execute(NODES)
            connection.execute("analyze")
        app = Lavoro("control", broker_url=dsn, set_as_current=False)
        samples: list[Sample | Series] = []
        for _ in range(LISTS):
            began = time.perf_counter()
            found = app.control.inspect().active() or {}
            samples.append(Sample("lavoro", "10,000 running tasks listed", "ms", (time.perf_counter() - began) * 1e3))
        assert sum(map(len, found.values())) == 10_000
        app.database.dispose()
    return samples
