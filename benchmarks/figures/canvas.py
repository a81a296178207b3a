"""Groups, chords and chains: how fast they are sent and run, beside Celery on Redis and beside a plain drain."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from benchmarks.peers.catalogue import PEERS
from benchmarks.peers.install import environment_of
from benchmarks.stage.hits import new_hits
from benchmarks.stage.processes import ROOT, Group, environment, migrate, produce, run, running, worker
from benchmarks.stage.redis import throwaway_redis
from benchmarks.stage.server import connect, empty_database, held_snapshot
from benchmarks.values import Sample, Series, Setting, Step

MEMBERS, STEPS, CHORDS, SMALL, LARGE = 10_000, 100, 1_000, 10, 100_000
CANVASES = "benchmarks.subjects.canvases"
CELERY = "celery-prefork"
BODY = """
select extract(epoch from body.started_at - max(member.finished_at))::float8 * 1000
from lavoro.finished body, lavoro.finished member
where body.name like '%%.length' and member.name like '%%.same' and member.finished_at <= body.finished_at
group by body.id, body.started_at order by body.started_at desc limit 1
"""


def steps(setting: Setting) -> list[Step]:
    """Measure Lavoro with two processes, then Celery."""
    return [partial(_ours, setting), partial(_theirs, setting)]


def large_steps(setting: Setting) -> list[Step]:
    """Measure a chord of 100,000, and one of 500,000 under a snapshot that is held all the time."""
    return [partial(_large, setting)]


def _send(python: str, package: str, env: dict[str, str], verb: str, count: int) -> dict[str, float]:
    return dict(json.loads(run([python, "-m", CANVASES, package, verb, str(count)], env=env).splitlines()[-1]))


@contextmanager
def _lavoro(setting: Setting, *, work: bool = True) -> Iterator[tuple[str, dict[str, str], Group | None]]:
    with empty_database(setting.server) as dsn, new_hits() as hits:
        migrate(dsn)
        env = environment(dsn, hits)
        if not work:
            yield dsn, env, None
            return
        with running([worker(2)], env) as group:
            produce("trips", 20, env=env)
            yield dsn, env, group


def _ours(setting: Setting) -> list[Sample | Series]:
    send = partial(_send, sys.executable, "lavoro")
    members = setting.scaled(MEMBERS)
    with _lavoro(setting, work=False) as (_, env, _):
        found = _figures(group=send(env, "group", members), members=members)
    with _lavoro(setting) as (dsn, env, _):
        chord = send(env, "chord", members)
        with connect(dsn) as connection:
            ((body,),) = connection.execute(BODY).fetchall()
    found |= _figures(chord=chord, members=members)
    with _lavoro(setting) as (_, env, _):
        found |= _figures(chain=send(env, "chain", STEPS))
    with _lavoro(setting) as (_, env, _):
        found |= _figures(chords=send(env, "chords", setting.scaled(CHORDS)), count=setting.scaled(CHORDS))
    with _lavoro(setting) as (_, env, _):
        plain = send(env, "plain", members)["whole"]
    return [
        *(Sample("lavoro", figure, unit, value) for (figure, unit), value in found.items()),
        Sample("lavoro", f"chord of {members:,}, its body after the last member", "ms", body),
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
    with _lavoro(setting) as (_, env, group):
        assert group is not None
        before = group.memory()
        large = _send(sys.executable, "lavoro", env, "chord", members)
        grown = group.memory() - before
    found = [
        Sample("lavoro", f"chord of {members:,}, whole", "tasks/s", members / large["whole"]),
        Sample("lavoro", f"chord of {members:,}, memory of the client", "MB", large["memory"] / 1e6),
        Sample("lavoro", f"chord of {members:,}, growth of the worker", "MB", grown / 1e6),
    ]
    members = setting.scaled(5 * LARGE)
    rates = []
    for wanted in (False, True):
        with _lavoro(setting) as (dsn, env, _), held_snapshot(dsn, wanted=wanted):
            rates.append(members / _send(sys.executable, "lavoro", env, "chord", members)["whole"])
    figure = f"chord of {members:,}, snapshot held, of the same without"
    return [*found, Sample("lavoro", figure, "ratio", rates[1] / rates[0])]
