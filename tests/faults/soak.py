"""The soak: tasks of all kinds for a long time under random faults of all layers, checked round by round.

    python -m tests.faults.soak --seed 1 --minutes 60 --tasks 1000000

Each round sends its share, harms everything it can meanwhile, waits until all is over, and has the checker look at what
happened; then the tables are emptied and the same workers go on. The report is Markdown.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import psycopg

from tests.faults.checker import NOT_YET, check, rejected_ends
from tests.faults.history import Rules, history
from tests.faults.ledger import Ledger, Reader
from tests.faults.observer import Observer
from tests.faults.producer import KINDS, Producer
from tests.faults.proxy import Proxy
from tests.faults.trial import Trial
from tests.faults.violation import Violation
from tests.postgres import Cluster, temporary_cluster
from tests.worker.conftest import Worker, workers

LEASE = 10.0
SLOTS = 20
NODES = 2
PRODUCERS = 3
MAX_CRASHES = 100
"""More than any task can meet: that a task ends at the third crash has tests of its own."""
ROOMS = "lavoro.waiting, lavoro.running, lavoro.finished, lavoro.attempt, lavoro.revoked, audit.transition"
OURS = "select pid from pg_stat_activity where application_name like 'lavoro%'"


@dataclass
class Totals:
    """What all rounds together have seen."""

    sent: int = 0
    unknown: int = 0
    rolled_back: int = 0
    finished: Counter[str] = field(default_factory=Counter)
    starts: int = 0
    lost: int = 0
    retried: int = 0
    rejected: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    violations: list[Violation] = field(default_factory=list)
    connections: list[int] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)
    """The most of all samples of each round: connections, and bytes of all of Lavoro's processes."""


class Soak:
    """The stage of a soak: server, proxy, nodes, producers, and what harms them."""

    def __init__(self, cluster: Cluster, proxy: Proxy, trial: Trial, *, seed: int) -> None:
        self.cluster, self.proxy, self.trial, self.seed = cluster, proxy, trial, seed
        self.random = random.Random(f"{seed}:nemesis")
        self.totals = Totals()
        self.reader = Reader(trial.folder / "ledgers")
        self.nodes: list[Worker] = []
        self.faults: dict[str, Callable[[], None]] = {
            "a child is killed": self.kill_child,
            "a supervisor is killed, its node started again": self.kill_node,
            "a child is stopped for a while": self.freeze_child,
            "a node is stopped past its lease": self.freeze_node,
            "a node is told to leave, and started again": self.replace_node,
            "a node is told to replace its children": self.reload_node,
            "all connections are cut": self.cut,
            "the network is silent in one direction": self.silence,
            "connections are half-open": self.half_open,
            "the network is slow": self.slow,
            "sessions are terminated": self.terminate,
            "a session is killed, and with it all": self.kill_backend,
            "the server is stopped at once": self.restart,
            "the server is killed": self.kill_server,
            "rows are locked": self.lock_rows,
            "a snapshot is held": self.hold_snapshot,
        }

    def start(self) -> None:
        """Start the nodes: one beyond the proxy, one without, both with fault points."""
        for number in range(NODES):
            self.nodes.append(self.start_node(number))

    def start_node(self, number: int) -> Worker:
        url = self.proxy.url(self.trial.url) if number == 0 else self.trial.url
        points: list[dict[str, Any]] = [
            {"kind": kind, "rate": 0.002} for kind in ("before", "after", "DeadlockDetected")
        ]
        points.append({"kind": "delay", "rate": 0.005, "seconds": 0.1})
        arguments = ("-c", str(SLOTS), "--processes", "2", "-n", f"node{number}", "--grace", "2", "-l", "warning")
        settings = {"lavoro_max_crashes": MAX_CRASHES}
        unsynced = {"RIG_UNSYNCED": "1"}
        constants = {"lavoro.store.listener.PROBE": 3.0, "lavoro.worker.claimer.ANSWER": 3.0}
        constants |= {"lavoro.worker.finisher.ANSWER": 3.0}
        return self.trial.worker(
            *arguments, url=url, lease=LEASE, settings=settings, environment=unsynced, points=points,
            constants=constants, ready=False,
        )  # fmt: skip

    # Faults

    def harm(self, until: float) -> None:
        """Do harm at random, one thing after the other."""
        while time.monotonic() < until:
            time.sleep(min(self.random.uniform(0.2, 6), max(0.0, until - time.monotonic())))
            name = self.random.choice(list(self.faults))
            self.totals.faults[name] += 1
            self.trial.ledger.write("fault", name=name)
            with contextlib.suppress(psutil.Error, psycopg.Error, IndexError):
                self.faults[name]()
            self.proxy.heal()

    def pause(self, longest: float) -> None:
        time.sleep(self.random.uniform(0.1, longest))

    def child(self) -> psutil.Process:
        return self.random.choice([child for node in self.nodes for child in node.children])

    def kill_child(self) -> None:
        self.child().kill()

    def kill_node(self) -> None:
        number = self.random.randrange(NODES)
        self.nodes[number].process.kill()
        self.nodes[number].wait()
        self.nodes[number] = self.start_node(number)

    def replace_node(self) -> None:
        number = self.random.randrange(NODES)
        self.nodes[number].send(signal.SIGTERM)
        self.nodes[number].wait()
        self.nodes[number] = self.start_node(number)

    def reload_node(self) -> None:
        self.random.choice(self.nodes).send(signal.SIGHUP)

    def freeze_child(self) -> None:
        self.frozen([self.child()], 2)

    def freeze_node(self) -> None:
        node = self.random.choice(self.nodes)
        everybody = [psutil.Process(node.process.pid), *node.children]
        self.frozen(everybody, LEASE + 5)

    def frozen(self, processes: list[psutil.Process], longest: float) -> None:
        self.trial.ledger.write("frozen", pids=[process.pid for process in processes])
        for process in processes:
            process.suspend()
        self.pause(longest)
        for process in processes:
            with contextlib.suppress(psutil.Error):
                process.resume()
        self.trial.ledger.write("thawed", pids=[process.pid for process in processes])

    def cut(self) -> None:
        self.proxy.cut(reset=self.random.random() < 0.5)

    def silence(self) -> None:
        self.proxy.swallow(self.random.choice(["up", "down"]))
        self.pause(2 * LEASE if self.random.random() < 0.2 else 2)

    def half_open(self) -> None:
        self.proxy.freeze(self.random.choice(["lavoro-", "lavoro-claimer", "lavoro-finisher", "lavoro-upkeep"]))
        self.pause(4)

    def slow(self) -> None:
        self.proxy.delay = 0.02
        self.pause(3)

    def terminate(self) -> None:
        self.trial.rows(f"select pg_terminate_backend(pid) from ({OURS}) ours where random() < 0.5")

    def kill_backend(self) -> None:
        [(pid,), *_] = self.trial.rows(OURS)
        os.kill(pid, signal.SIGKILL)

    def restart(self) -> None:
        self.cluster.stop("immediate")
        self.pause(3)
        self.cluster.start()

    def kill_server(self) -> None:
        self.cluster.kill()
        self.pause(3)
        self.cluster.start()

    def lock_rows(self) -> None:
        with psycopg.connect(self.trial.url) as connection:
            connection.execute("select from lavoro.running limit 20 for update")
            self.pause(3)

    def hold_snapshot(self) -> None:
        def hold() -> None:
            with contextlib.suppress(psycopg.Error), psycopg.connect(self.trial.url) as connection:
                connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
                connection.execute("select 1")  # no table: what empties them at the end of a round must not wait
                time.sleep(20)

        threading.Thread(target=hold, daemon=True).start()

    # Rounds

    def round(self, number: int, *, tasks: int, seconds: float) -> None:
        """Send so many tasks within so many seconds, harm, wait, check."""
        producers = [self._producer(f"{number}:{index}") for index in range(PRODUCERS)]
        with Observer(self.trial.url, self.trial.ledger, self.trial.processes, interval=1.0):
            nemesis = threading.Thread(target=self.harm, args=(time.monotonic() + seconds,))
            nemesis.start()
            self._send(producers, tasks=tasks, seconds=seconds)
            nemesis.join()
            for producer in producers:
                producer.close()
            self._revive()
            self.trial.drain(600)
        self._look(number)

    def _producer(self, name: str) -> Producer:
        producer = Producer(
            self.trial.url, Ledger(self.trial.folder / "ledgers", f"producer-{name.replace(':', '-')}", sync=False),
            seed=f"{self.seed}:{name}", kinds=(*KINDS, "long", "long", "long"),
        )  # fmt: skip
        producer.pause = 0.001
        producer.start()
        return producer

    @staticmethod
    def _send(producers: list[Producer], *, tasks: int, seconds: float) -> None:
        """Let the producers go on until they have sent their share; slow down where they are ahead of time."""
        began = time.monotonic()
        while time.monotonic() < began + seconds or sum(len(p.sent) for p in producers) < tasks:
            due = tasks * (time.monotonic() - began) / seconds
            ahead = sum(len(producer.sent) for producer in producers) > due
            for producer in producers:
                producer.pause = 0.2 if ahead else 0.001
            time.sleep(0.1)

    def _revive(self) -> None:
        """Start again what died while its successor could not be started, as any service manager does."""
        for number, node in enumerate(self.nodes):
            if node.process.poll() is not None:
                self.nodes[number] = self.start_node(number)

    def _look(self, number: int) -> None:
        """Have the checker look at this round, add it up, and empty the tables for the next."""
        entries = self.reader.read()
        rules = Rules(orderly=True, max_crashes=MAX_CRASHES, slots=SLOTS, idle_in_transaction=3 * LEASE)
        known = history(self.trial.url, entries, rules)
        found = check(known)
        for violation in found:
            print(f"round {number}: {violation}", flush=True)
        totals = self.totals
        totals.violations += found
        outcomes = Counter(entry["outcome"] for entry in entries if entry.kind == "outcome")
        totals.sent += outcomes["ok"]
        totals.unknown += outcomes["unknown"]
        totals.rolled_back += outcomes["rolled back"]
        totals.finished.update(done.state for done in known.done)
        totals.starts += len(known.of_kind("start"))
        totals.lost += sum(row.state == "LOST" for row in known.attempts)
        totals.retried += sum(row.state == "RETRY" for row in known.attempts)
        totals.rejected += rejected_ends(known)
        samples = known.of_kind("sample")
        totals.connections.append(max((sample["connections"] for sample in samples), default=0))
        totals.memory.append(max((sum(sample["rss"].values()) for sample in samples), default=0))
        self.trial.rows(f"truncate {ROOMS}")
        print(f"round {number}: {outcomes['ok']} sent, {len(known.done)} over, {len(found)} violations", flush=True)


def report(soak: Soak, *, minutes: float, rounds: int) -> str:
    """What the soak has found, in Markdown."""
    totals, version = soak.totals, soak.trial.rows("show server_version")[0][0]
    lines = [
        f"Seed {soak.seed}, commit {commit()}, PostgreSQL {version}, {os.cpu_count()} cores.",
        f"{minutes:.0f} minutes, {rounds} rounds, {NODES} nodes of 2 processes with {SLOTS} slots.",
        "",
        "| what | count |",
        "|---|---|",
        f"| tasks known to be stored | {totals.sent:,} |",
        f"| calls whose answer was lost (stored once or not at all) | {totals.unknown:,} |",
        f"| calls in a transaction or savepoint that was rolled back | {totals.rolled_back:,} |",
        *(f"| ended as {state} | {count:,} |" for state, count in sorted(totals.finished.items())),
        f"| starts | {totals.starts:,} |",
        f"| starts recorded as lost | {totals.lost:,} |",
        f"| retries | {totals.retried:,} |",
        f"| outcomes of lost starts, refused | {totals.rejected:,} |",
        f"| **violations** | **{len(totals.violations)}** |",
        f"| most connections, first and last round | {totals.connections[0]}, {totals.connections[-1]} |",
        f"| most memory of all processes, first and last round | {mib(totals.memory[0])}, {mib(totals.memory[-1])} |",
        "",
        "| fault | times |",
        "|---|---|",
        *(f"| {name} | {count} |" for name, count in sorted(totals.faults.items())),
        "",
        *(f"- {violation}" for violation in totals.violations[:50]),
        *(f"{name} is not looked at: {why}." for name, why in NOT_YET.items()),
    ]
    return "\n".join(lines) + "\n"


def mib(count: int) -> str:
    """Bytes, to be read."""
    return f"{count / 2**20:,.0f} MiB"


def commit() -> str:
    """The commit of the working tree."""
    done = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


@contextlib.contextmanager
def staged(seed: int) -> Iterator[Soak]:
    """A soak with everything it needs, in a temporary folder."""
    with (
        tempfile.TemporaryDirectory(prefix="lavoro-soak-") as folder,
        temporary_cluster(durable=True) as cluster,
        Proxy(cluster.port) as proxy,
        workers(Path(folder), eventually) as start_worker,
    ):
        trial = Trial(cluster.url(cluster.create_database()), Path(folder), start_worker, seed=seed)
        trial.prepare()
        soak = Soak(cluster, proxy, trial, seed=seed)
        soak.start()
        yield soak
        for node in soak.nodes:
            node.send(signal.SIGTERM)
        for node in soak.nodes:
            node.wait()


def eventually(condition: Callable[[], Any], *, timeout: float = 60, why: str = "") -> Any:
    """Wait until a condition holds."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {timeout} s: {why}"
        time.sleep(0.05)
    return value


def main() -> int:
    """Run a soak as the command line says; the exit code is 1 where something was violated."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--tasks", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=0, help="0: one for each 40,000 tasks")
    parser.add_argument("--report", type=Path, default=Path("build/soak.md"))
    options = parser.parse_args()
    rounds = options.rounds or max(2, options.tasks // 40_000)
    began = time.monotonic()
    with staged(options.seed) as soak:
        for number in range(1, rounds + 1):
            left = options.minutes * 60 - (time.monotonic() - began)
            soak.round(number, tasks=options.tasks // rounds, seconds=max(10.0, 0.85 * left / (rounds - number + 1)))
        text = report(soak, minutes=(time.monotonic() - began) / 60, rounds=rounds)
    options.report.parent.mkdir(parents=True, exist_ok=True)
    options.report.write_text(text, encoding="utf-8")
    print(text)
    return 1 if soak.totals.violations else 0


if __name__ == "__main__":
    sys.exit(main())
