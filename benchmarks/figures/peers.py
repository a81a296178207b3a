"""Other task queues beside Lavoro: storing calls, running 10,000 of them, and the delay of a steady trickle."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.output.percentiles import distribution, percentiles
from benchmarks.peers.catalogue import PEERS, Peer
from benchmarks.peers.install import environment_of
from benchmarks.stage.hits import Hits, new_hits
from benchmarks.stage.meter import Cost
from benchmarks.stage.processes import ROOT, Group, environment, migrate, produce, run, running, worker
from benchmarks.stage.progress import Progress
from benchmarks.stage.redis import throwaway_redis
from benchmarks.stage.server import empty_database
from benchmarks.stage.watch import together
from benchmarks.values import Sample, Series, Setting, Step

ONE, MANY, DRAINED, LONG = 2_000, 20_000, 10_000, 100_000
RATE, SECONDS, WARM = 100, 10.0, 100
TRICKLE = f"call to start, {RATE} calls/s"


def steps(setting: Setting) -> list[Step]:
    """Measure Lavoro with two processes, then each peer."""
    ours = partial(_measure, setting, "lavoro", _Ours(setting))
    return [ours, *(partial(_peer, setting, PEERS[name]) for name in setting.peers or PEERS)]


def _peer(setting: Setting, peer: Peer) -> list[Sample | Series]:
    return _measure(setting, peer.name, _Theirs(setting, peer, environment_of(peer)))


@dataclass(frozen=True)
class _Ours:
    """How Lavoro is driven."""

    setting: Setting
    table = "lavoro.waiting"

    @contextmanager
    def prepared(self) -> Iterator[dict[str, str]]:
        """Yield the environment of producers and workers on an empty, migrated database."""
        with empty_database(self.setting.server) as dsn:
            migrate(dsn)
            yield environment(dsn)

    def send(self, env: dict[str, str], verb: str, count: int, *numbers: float) -> Any:
        """Run the producer; return a rate if the verb measures one."""
        extra = [10_000] if verb == "many" else numbers
        found = produce(verb, count, *extra, env=env)
        return Cost(**found).rate if found else None

    def workers(self) -> list[list[str]]:
        """Return the commands of the workers."""
        return [worker(2)]


@dataclass(frozen=True)
class _Theirs:
    """How a peer is driven: by its adapter, in its own environment."""

    setting: Setting
    peer: Peer
    programs: Path

    @property
    def table(self) -> str:
        """The table to lock for a long drain; empty for none."""
        return self.peer.table

    @contextmanager
    def prepared(self) -> Iterator[dict[str, str]]:
        """Yield the environment of producers and workers, with an empty server."""
        redis = self.peer.server == "redis"
        server: AbstractContextManager[str] = throwaway_redis() if redis else empty_database(self.setting.server)
        with server as url:
            # Nothing of our own environment must leak into theirs.
            kept = {name: value for name, value in os.environ.items() if name == "PATH" or name.startswith("PEER_")}
            env = {**kept, "PYTHONPATH": str(ROOT), "PEER_URL": url, "HOME": "/nonexistent"}
            self.send(env, "setup", 0)
            yield env

    def send(self, env: dict[str, str], verb: str, count: int, *numbers: float) -> Any:
        """Run the adapter; return a rate if the verb measures one."""
        arguments = [f"benchmarks.peers.{self.peer.module}", verb, str(count), *map(str, numbers)]
        command = [str(self.programs / "python"), "-m", "benchmarks.peers.drive", *arguments]
        return json.loads(run(command, env=env).splitlines()[-1])

    def workers(self) -> list[list[str]]:
        """Return the commands of the workers."""
        return [[str(self.programs / program), *options] for program, *options in self.peer.workers]


def _measure(setting: Setting, subject: str, driver: _Ours | _Theirs) -> list[Sample | Series]:
    rates = {}
    for figure, verb, count in (("enqueue, one by one", "one", ONE), ("enqueue, in lists", "many", MANY)):
        with driver.prepared() as env:
            rates[figure] = driver.send(env, verb, setting.scaled(count))
    count, long = setting.scaled(DRAINED), setting.scaled(LONG)
    with driver.prepared() as env:
        rates[f"drain of {count:,}"] = _drain(driver, env, count)
    if driver.table:
        with driver.prepared() as env:
            rates[f"long drain of {long:,}"] = _long_drain(driver, env, long)
    with driver.prepared() as env:
        delays = _trickle(driver, env, round(RATE * setting.seconds(SECONDS)))
    return [
        *(Sample(subject, figure, "tasks/s", rate) for figure, rate in rates.items() if rate is not None),
        *percentiles(subject, TRICKLE, delays),
        distribution(subject, TRICKLE, delays),
    ]


@contextmanager
def _working(driver: _Ours | _Theirs, env: dict[str, str]) -> Iterator[tuple[Group, Hits]]:
    with new_hits() as hits:
        env, log = {**env, **hits.environment}, hits.path.with_name("log")
        with running(driver.workers(), env, log=log, grace=3.0) as group:
            yield group, hits


def _drain(driver: _Ours | _Theirs, env: dict[str, str], count: int) -> float:
    """Return the rate from the first start to the last, the workers having been started on the full queue."""
    driver.send(env, "preload", count)
    progress = Progress()
    with _working(driver, env) as (group, hits):
        progress.watch(group, hits, count)
    return (count - progress.first) / progress.seconds


def _long_drain(driver: _Ours | _Theirs, env: dict[str, str], count: int) -> float:
    """Return the same with ten times as many tasks and workers that are let go together: of the fast ones only."""
    driver.send(env, "preload", count)
    progress = Progress()
    with new_hits() as hits:
        url, env = env.get("PEER_URL") or env["BENCHMARKS_DSN"], {**env, **hits.environment}
        with together(driver.workers(), env, dsn=url, table=driver.table, processes=2) as group:
            progress.watch(group, hits, count)
    return (count - progress.first) / progress.seconds


def _trickle(driver: _Ours | _Theirs, env: dict[str, str], calls: int) -> list[float]:
    with _working(driver, env) as (group, hits):
        driver.send(env, "preload", WARM)
        group.wait_until(lambda: hits.count() >= WARM, "the first tasks started")
        driver.send(env, "paced", calls, RATE)
        group.wait_until(lambda: hits.count() >= WARM + calls, "the last call started")
        return hits.values(skip=WARM)
