"""The soak: tasks of all kinds for a long time under random faults of all layers, checked round by round.

    python -m tests.faults.soak --seed 1 --minutes 60 --tasks 1000000

Each round sends its share, harms everything it can meanwhile, waits until all is over, and has the checker look at what
happened; then tables and ledgers are emptied and the same workers go on. The report is Markdown. ``--rig`` changes the
workers (see plugin/rig_changes.py): with a mutant, the soak must find it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import psycopg

from tests.faults.checker import check
from tests.faults.history import Rules, history
from tests.faults.ledger import Ledger, Reader
from tests.faults.observer import Observer
from tests.faults.producer import Producer
from tests.faults.proxy import Proxy
from tests.faults.tally import Tally, report
from tests.faults.trial import Trial
from tests.faults.violation import Violation
from tests.postgres import Cluster, temporary_cluster
from tests.worker.conftest import Worker, workers

LEASE = 10.0
SLOTS = 20
NODES = 2
PRODUCERS = 3
KINDS = (
    *["plain"] * 3, *["long"] * 6, *["retry"] * 2, *["eta"] * 2, *["revoke"] * 2, *["committed"] * 2, "doom", "crew",
    "crew", "many", "rolled back", "savepoint", "chain", "chord", "blocked",
)  # fmt: skip
"""What the producers do; those that take their time fill about half of all slots."""
PER_OPERATION = 2.7
"""Tasks that such an operation sends, in the mean."""
SINGLY = 0.65
"""The part of all tasks that is sent so; the others come by hundreds."""
MAX_CRASHES = 100
"""More than any task can meet: that a task ends at the third crash has tests of its own."""
OFTEN = ("a child is killed", "a node is killed as a whole, and started again", "a node is stopped past its lease")
"""Faults that lose starts: twice as often as the others."""
DRAINED = 300.0
"""Seconds in which all must be over after the last fault."""
ROOMS = (
    "lavoro.waiting, lavoro.running, lavoro.finished, lavoro.attempt, lavoro.revoked,"
    " lavoro.held, lavoro.barrier, lavoro.member, lavoro.schedule, lavoro.tick, audit.transition"
)
SCHEDULES = 60
"""Schedules of a round; all together they send about `TICKS` tasks a second, one each half second at most."""
TICKS = 60.0
SKEWS = (0.0, 170.0, -130.0)
"""Seconds by which the clocks of nodes are wrong."""
CAUGHT_UP = 60.0
"""Seconds in which the schedules must have caught up after the last fault."""
OURS = "select pid from pg_stat_activity where application_name like 'lavoro%'"


class Soak:
    """The stage of a soak: server, proxy, nodes, producers, and what harms them."""

    def __init__(self, cluster: Cluster, proxy: Proxy, trial: Trial, *, seed: int, rig: dict[str, Any]) -> None:
        self.cluster, self.proxy, self.trial, self.seed, self.rig = cluster, proxy, trial, seed, rig
        self.count, self.schedules = NODES, SCHEDULES
        self.random = random.Random(f"{seed}:nemesis")
        self.tally = Tally()
        self.rounds = 0
        self.reader = Reader(trial.folder / "ledgers")
        self.nodes: list[Worker] = []
        self.faults: dict[str, Callable[[], None]] = {
            "a child is killed": self.kill_child,
            "a supervisor is killed, its node started again": self.kill_supervisor,
            "a node is killed as a whole, and started again": self.kill_node,
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

    def start(self, nodes: int = NODES) -> None:
        """Start the nodes: one beyond the proxy, others without, and one that no nemesis but the server's touches.

        The last one runs no schedules, so that the others have to.
        """
        self.count = nodes
        for number in range(nodes):
            self.nodes.append(self.start_node(number))
        self.alone = self.start_node(nodes)

    def start_node(self, number: int) -> Worker:
        """Start a node with fault points; the second one does not fence itself, so that the database has to.

        The clocks of the nodes are minutes apart.
        """
        url = self.proxy.url(self.trial.url) if number == 0 else self.trial.url
        points: list[dict[str, Any]] = [
            {"kind": kind, "rate": 0.002} for kind in ("before", "after", "DeadlockDetected")
        ]
        points.append({"kind": "delay", "rate": 0.005, "seconds": 0.1})
        processes = "2" if number < self.count else "1"
        arguments = ("-c", str(SLOTS), "--processes", processes, "-n", f"node{number}", "--grace", "2", "-l", "warning")
        settings = {"lavoro_max_crashes": MAX_CRASHES, "lavoro_run_schedules": number < self.count}
        environment = {"RIG_UNSYNCED": "1", "RIG_BEAT": "0.1"}
        constants = {"lavoro.store.inbox.PROBE": 3.0, "lavoro.worker.child.claimer.ANSWER": 3.0}
        constants |= {"lavoro.worker.child.finisher.ANSWER": 3.0}
        mutants = [*self.rig.get("mutants", ()), *(["never fences"] if number == 1 else [])]
        skew = SKEWS[number % len(SKEWS)]
        rig = {"points": points, "constants": constants, "skew": skew, **self.rig, "mutants": mutants}
        rig["seed"] = f"{self.seed}:{len(self.trial.workers)}"
        return self.trial.worker(
            *arguments, url=url, lease=LEASE, settings=settings, environment=environment, ready=False, **rig
        )

    # Faults

    def harm(self, until: float) -> None:
        """Do harm at random, one thing after the other."""
        while time.monotonic() < until:
            time.sleep(min(self.random.uniform(0.2, 6), max(0.0, until - time.monotonic())))
            name = self.random.choice([*self.faults, *OFTEN])
            self.tally.faults[name] += 1
            self.trial.ledger.write("fault", name=name)
            try:
                with contextlib.suppress(psutil.Error, psycopg.Error, IndexError):
                    self.faults[name]()
            except Exception as error:  # say a node that does not leave: the soak goes on, and fails
                traceback.print_exc()
                self.tally.violations.append(Violation("rig", f"{name}: {error!r}"))
            self.proxy.heal()

    def pause(self, longest: float, *, shortest: float = 0.1) -> None:
        """Leave it as it is for a while."""
        time.sleep(self.random.uniform(shortest, longest))

    def child(self) -> psutil.Process:
        return self.random.choice([child for node in self.nodes for child in node.children])

    def kill_child(self) -> None:
        self.child().kill()

    def kill_supervisor(self) -> None:
        number = self.random.randrange(self.count)
        self.nodes[number].process.kill()
        self.nodes[number].wait()
        self.nodes[number] = self.start_node(number)

    def kill_node(self) -> None:
        number = self.random.randrange(self.count)
        self.nodes[number].destroy()
        self.nodes[number] = self.start_node(number)

    def replace_node(self) -> None:
        number = self.random.randrange(self.count)
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
        # Children go on a moment earlier: nobody tells them that others have what they run.
        self.frozen(everybody, LEASE + 6, shortest=LEASE + 3, apart=1.0)

    def frozen(
        self, processes: list[psutil.Process], longest: float, *, shortest: float = 0.1, apart: float = 0.0
    ) -> None:
        """Stop processes for a while, and let the last go on first."""
        self.trial.ledger.write("frozen", pids=[process.pid for process in processes])
        for process in processes:
            process.suspend()
        self.pause(longest, shortest=shortest)
        *others, supervisor = reversed(processes)
        for process in others:
            with contextlib.suppress(psutil.Error):
                process.resume()
        time.sleep(apart)
        with contextlib.suppress(psutil.Error):
            supervisor.resume()
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
        singly = PRODUCERS * PER_OPERATION * seconds / (SINGLY * tasks)
        producers = [self._producer(f"{number}-{index}", pause=singly) for index in range(PRODUCERS)]
        flood = self._producer(f"{number}-flood")
        with Observer(self.trial.url, self.trial.ledger, self.trial.processes, interval=1.0):
            nemesis = threading.Thread(target=self.harm, args=(time.monotonic() + seconds,))
            self._begin_schedules()
            nemesis.start()
            for producer in producers:
                producer.start()
            self._send(producers, flood, tasks=tasks, seconds=seconds)
            nemesis.join()
            for producer in (*producers, flood):
                producer.close()
            self._revive()
            until = self._end_schedules()
            with contextlib.suppress(AssertionError):  # the checker will tell
                self.trial.drain(DRAINED)
        self._look(number, ticked_until=until)

    def _begin_schedules(self) -> None:
        """Write schedules of all kinds; intervals differ by up to half."""
        every = max(0.5, self.schedules / TICKS)
        self.trial.rows(f"""
            insert into lavoro.schedule (name, task, args, timing, overlap, missed)
            select 's' || i, 'echo', '["tick"]',
                case when i % 20 = 0 then '* * * * *'
                    else '@every ' || round(({every} * (1 + (i % 11) / 20.0))::numeric, 1) || 's' end,
                (array['allow', 'skip', 'queue'])[1 + i % 3], (array['once', 'all'])[1 + i % 2]
            from generate_series(1, {self.schedules}) i""")

    def _end_schedules(self) -> float:
        """Wait until the schedules have caught up, and pause them; return when (microseconds since 1970)."""
        late = "select count(*) from lavoro.schedule where due_at < clock_timestamp()"
        with contextlib.suppress(AssertionError):  # the checker will tell
            self.trial.until(lambda: self.trial.rows(late) == [(0,)], why="no schedule is late", timeout=CAUGHT_UP)
        self.trial.rows("update lavoro.schedule set paused_at = clock_timestamp()")
        [[moment]] = self.trial.rows("select (extract(epoch from clock_timestamp()) * 1000000)::bigint")
        return float(moment)

    def _producer(self, name: str, *, pause: float = 0.0) -> Producer:
        """A producer; the first one of a round sends through the proxy."""
        url = self.proxy.url(self.trial.url) if name.endswith("-0") else self.trial.url
        ledger = Ledger(self.trial.folder / "ledgers", f"producer-{name}", sync=False)
        producer = Producer(
            url, ledger, seed=f"{self.seed}:{name}", kinds=["flood"] if name.endswith("flood") else KINDS
        )
        producer.pause = pause
        return producer

    @staticmethod
    def _send(producers: list[Producer], flood: Producer, *, tasks: int, seconds: float) -> None:
        """Let the producers go on until their share is sent; what they are behind comes by hundreds."""
        began = time.monotonic()

        def sent() -> int:
            return len(flood.sent) + sum(len(producer.sent) for producer in producers)

        while time.monotonic() < began + seconds or sent() < tasks:
            if sent() < tasks * min(1.0, (time.monotonic() - began) / seconds):
                flood.operate()
            else:
                time.sleep(0.1)

    def _revive(self) -> None:
        """Start again what died while its successor could not be started, as any service manager does."""
        for number, node in enumerate(self.nodes):
            if node.process.poll() is not None:
                self.nodes[number] = self.start_node(number)

    def _look(self, number: int, *, ticked_until: float) -> None:
        """Have the checker look at this round, add it up, and empty tables and ledgers for the next."""
        began = time.monotonic()
        entries = self.reader.read()
        rules = Rules(
            orderly=True, max_crashes=MAX_CRASHES, slots=SLOTS, idle_in_transaction=3 * LEASE, ticked_until=ticked_until
        )
        known = history(self.trial.url, entries, rules)
        self.trial.rows(f"truncate {ROOMS}")
        self.reader.forget()
        found = check(known)
        for violation in found:
            print(f"round {number}: {violation}", flush=True)
        self.tally.violations += found
        alone = {str(self.alone.process.pid), *(str(child.pid) for child in self.alone.children)}
        self.tally.add(known, alone=alone)
        self.rounds = number
        print(
            f"{time.strftime('%H:%M:%S')} round {number}: {len(known.done)} over, {len(found)} violations,"
            f" {self.tally.sent} sent in all, {self.tally.lost.total()} starts lost,"
            f" {sum(self.tally.faults.values())} faults; looked for {time.monotonic() - began:.0f} s",
            flush=True,
        )

    def stop(self) -> None:
        """Tell everybody to leave, and read once more what they have logged."""
        for node in (*self.nodes, self.alone):
            node.send(signal.SIGTERM)
        for node in (*self.nodes, self.alone):
            node.wait()
        self.tally.refused = sum(worker.log.count(" was refused: ") for worker in self.trial.workers)
        self.tally.judge()


def preface(soak: Soak, *, minutes: float) -> list[str]:
    """What ran, and how it can be repeated."""
    [[version]] = soak.trial.rows("show server_version")
    return [
        f"Seed {soak.seed}, commit {commit()}, PostgreSQL {version}, {os.cpu_count()} cores.",
        f"{minutes:.0f} minutes, {soak.rounds} rounds of {soak.schedules:,} schedules,",
        f"{soak.count} nodes of 2 processes with {SLOTS} slots each,",
        f"and a node of one process with {SLOTS} slots that is left alone but for what happens to the server.",
    ]


def commit() -> str:
    """The commit of the working tree."""
    done = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


@contextlib.contextmanager
def staged(seed: int, rig: dict[str, Any], *, nodes: int = NODES, schedules: int = SCHEDULES) -> Iterator[Soak]:
    """A soak with everything it needs, in a temporary folder."""
    with (
        tempfile.TemporaryDirectory(prefix="lavoro-soak-") as folder,
        temporary_cluster(durable=True) as cluster,
        Proxy(cluster.port) as proxy,
        workers(Path(folder), eventually) as start_worker,
    ):
        trial = Trial(cluster.url(cluster.create_database()), Path(folder), start_worker, seed=seed)
        trial.prepare()
        soak = Soak(cluster, proxy, trial, seed=seed, rig=rig)
        soak.schedules = schedules
        soak.start(nodes)
        yield soak


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
    parser.add_argument("--nodes", type=int, default=NODES)
    parser.add_argument("--schedules", type=int, default=SCHEDULES)
    parser.add_argument("--report", type=Path, default=Path("build/soak.md"))
    parser.add_argument("--rig", type=json.loads, default={}, help="JSON: what else is changed in the workers")
    options = parser.parse_args()
    rounds = options.rounds or max(2, options.tasks // 40_000)
    began = time.monotonic()
    with staged(options.seed, options.rig, nodes=options.nodes, schedules=options.schedules) as soak:
        for number in range(1, rounds + 1):
            left = options.minutes * 60 - (time.monotonic() - began)
            soak.round(number, tasks=options.tasks // rounds, seconds=max(10.0, 0.85 * left / (rounds - number + 1)))
        words = preface(soak, minutes=(time.monotonic() - began) / 60)
        soak.stop()
        text = report(soak.tally, preface=words)
    options.report.parent.mkdir(parents=True, exist_ok=True)
    options.report.write_text(text, encoding="utf-8")
    print(text)
    return 1 if soak.tally.violations else 0


if __name__ == "__main__":
    sys.exit(main())
