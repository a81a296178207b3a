"""Groups, chords and chains: how fast they are sent and run, beside Celery on Redis and beside a plain drain."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

from benchmarks.peers.catalogue import PEERS
from benchmarks.peers.install import environment_of
from benchmarks.stage.hits import Hits, new_hits
from benchmarks.stage.processes import ROOT, Group, environment, migrate, produce, run, running, worker
from benchmarks.stage.redis import throwaway_redis
from benchmarks.stage.server import connect, empty_database, held_snapshot
from benchmarks.values import Sample, Series, Setting, Step

MEMBERS, STEPS, CHORDS, SMALL, LARGE = 10_000, 100, 1_000, 10, 100_000
CANVASES = "benchmarks.subjects.canvases"
CELERY = "celery-prefork"
ENDED = "select extract(epoch from max(finished_at))::float8 from lavoro.finished where name like '%.same'"


def steps(setting: Setting) -> list[Step]:
    """Measure Lavoro with two processes, then Celery."""
    return [partial(_ours, setting), partial(_theirs, setting)]


def large_steps(setting: Setting) -> list[Step]:
    """Measure a chord of 100,000, and one of 500,000 under a snapshot that is held all the time."""
    return [partial(_large, setting)]


def _send(python: str, package: str, env: dict[str, str], verb: str, count: int) -> dict[str, float]:
    return dict(json.loads(run([python, "-m", CANVASES, package, verb, str(count)], env=env).splitlines()[-1]))


class _Stage(NamedTuple):
    """An empty database, the environment of its clients, the file of starts, and the worker if there is one."""

    dsn: str
    env: dict[str, str]
    hits: Hits
    group: Group | None

    def send(self, verb: str, count: int) -> dict[str, float]:
        """Send a canvas and return what that took."""
        return _send(sys.executable, "lavoro", self.env, verb, count)

    def body_after_members(self) -> float:
        """Return the seconds from the outcome of the last member to the start of the body, which ran last."""
        with connect(self.dsn) as connection:
            ((ended,),) = connection.execute(ENDED).fetchall()
        return self.hits.values()[-1] - float(ended)


@contextmanager
def _lavoro(setting: Setting, *, work: bool = True) -> Iterator[_Stage]:
    with empty_database(setting.server) as dsn, new_hits() as hits:
        migrate(dsn)
        env = environment(dsn, hits)
        if not work:
            yield _Stage(dsn, env, hits, None)
            return
        with running([worker(2)], env) as group:
            produce("trips", 20, env=env)
            yield _Stage(dsn, env, hits, group)


def _ours(setting: Setting) -> list[Sample | Series]:
    members, count = setting.scaled(MEMBERS), setting.scaled(CHORDS)
    with _lavoro(setting, work=False) as stage:
        found = _figures(group=stage.send("group", members), members=members)
    with _lavoro(setting) as stage:
        chord = stage.send("chord", members)
        body = stage.body_after_members()
    found |= _figures(chord=chord, members=members)
    with _lavoro(setting) as stage:
        found |= _figures(chain=stage.send("chain", STEPS))
    with _lavoro(setting) as stage:
        found |= _figures(chords=stage.send("chords", count), count=count)
    with _lavoro(setting) as stage:
        plain = stage.send("plain", members)["whole"]
    return [
        *(Sample("lavoro", figure, unit, value) for (figure, unit), value in found.items()),
        Sample("lavoro", f"chord of {members:,}, its body after the last member", "ms", body * 1000),
        Sample("lavoro", f"chord of {members:,}, of the plain calls", "ratio", plain / chord["whole"]),
    ]


def _theirs(setting: Setting) -> list[Sample | Series]:
    peer = PEERS[CELERY]
    programs = environment_of(peer)
    send = partial(_send, str(programs / "python"), "celery")
    members, count = setting.scaled(MEMBERS), setting.scaled(CHORDS)
    found: dict[tuple[str, str], float] = {}
    with _celery() as env:
        found |= _figures(group=send(env, "group", members), members=members)
    with _celery() as env, running([[str(programs / peer.workers[0][0]), *peer.workers[0][1:]]], env):
        found |= _figures(chord=send(env, "chord", members), members=members)
        found |= _figures(chain=send(env, "chain", STEPS))
        found |= _figures(chords=send(env, "chords", count), count=count)
    return [Sample(peer.name, figure, unit, value) for (figure, unit), value in found.items()]


@contextmanager
def _celery() -> Iterator[dict[str, str]]:
    with throwaway_redis() as url, new_hits() as hits:
        kept = {name: value for name, value in os.environ.items() if name == "PATH"}
        yield {**kept, "PYTHONPATH": str(ROOT), "PEER_URL": url, "HOME": "/nonexistent", **hits.environment}


def _figures(
    *, group: dict[str, float] | None = None, chord: dict[str, float] | None = None,
    chain: dict[str, float] | None = None, chords: dict[str, float] | None = None, members: int = 0, count: int = 0,
) -> dict[tuple[str, str], float]:  # fmt: skip
    """Name what was measured."""
    found: dict[tuple[str, str], float] = {}
    if group:
        found[f"group of {members:,}, sent", "tasks/s"] = members / group["sent"]
    if chord:
        found[f"chord of {members:,}, whole", "tasks/s"] = members / chord["whole"]
    if chain:
        found[f"chain of {STEPS}", "steps/s"] = STEPS / chain["whole"]
    if chords:
        found[f"{count:,} chords of {SMALL}", "chords/s"] = count / chords["whole"]
    return found


def _large(setting: Setting) -> list[Sample | Series]:
    members = setting.scaled(LARGE)
    with _lavoro(setting) as stage:
        assert stage.group is not None
        before = stage.group.memory()
        large = stage.send("chord", members)
        grown = stage.group.memory() - before
    found = [
        Sample("lavoro", f"chord of {members:,}, whole", "tasks/s", members / large["whole"]),
        Sample("lavoro", f"chord of {members:,}, memory of the client", "MB", large["memory"] / 1e6),
        Sample("lavoro", f"chord of {members:,}, growth of the worker", "MB", grown / 1e6),
    ]
    members = setting.scaled(5 * LARGE)
    rates = []
    for wanted in (False, True):
        with _lavoro(setting) as stage, held_snapshot(stage.dsn, wanted=wanted):
            rates.append(members / stage.send("chord", members)["whole"])
    figure = f"chord of {members:,}, snapshot held, of the same without"
    return [*found, Sample("lavoro", figure, "ratio", rates[1] / rates[0])]
