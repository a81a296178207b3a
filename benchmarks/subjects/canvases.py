"""Sends groups, chords and chains of tasks that do nothing, to Lavoro or to Celery, and prints as JSON what that took.

It runs in the environment of either: `python -m benchmarks.subjects.canvases lavoro chord 10000`.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

TASKS = {"lavoro": "benchmarks.subjects.tasks", "celery": "benchmarks.peers.celery_redis"}
PATIENCE, CHORD = 600, 10


class Sender:
    """The canvas of one package, and the tasks of its application."""

    def __init__(self, package: str) -> None:
        self.tasks = importlib.import_module(TASKS[package])
        self.canvas = importlib.import_module(package)

    def chord(self, members: int) -> Any:
        """Return a chord, whose body is called with the members' results."""
        return self.canvas.chord([self.tasks.same.s(number) for number in range(members)], self.tasks.length.s())

    def group_sent(self, members: int) -> dict[str, float]:
        """Send a group."""
        group = self.canvas.group(self.tasks.same.s(number) for number in range(members))
        return {"sent": _seconds(group.apply_async)}

    def chord_whole(self, members: int) -> dict[str, float]:
        """Send a chord, and wait for its body."""
        start = time.perf_counter()
        result = self.chord(members).apply_async()
        sent = time.perf_counter() - start
        _check(result.get(timeout=PATIENCE), members)
        whole = time.perf_counter() - start
        return {"sent": sent, "whole": whole, "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}

    def plain(self, count: int) -> dict[str, float]:
        """Send as many calls in a list to Lavoro, and wait until none waits or runs."""
        from benchmarks.stage.server import connect  # Celery's environment has no psycopg
        from benchmarks.stage.watch import is_empty

        with connect(os.environ["BENCHMARKS_DSN"]) as connection:
            start = time.perf_counter()
            self.tasks.same.delay_many([(number,) for number in range(count)])
            while not is_empty(connection):
                time.sleep(0.002)
            return {"whole": time.perf_counter() - start}

    def chains(self, steps: int) -> dict[str, float]:
        """Send a chain and wait for its end, five times; return the median."""
        taken = []
        for _ in range(5):
            chain = self.canvas.chain(self.tasks.same.s(steps), *(self.tasks.same.s() for _ in range(steps - 1)))
            start = time.perf_counter()
            _check(chain.apply_async().get(timeout=PATIENCE), steps)
            taken.append(time.perf_counter() - start)
        return {"whole": sorted(taken)[2]}

    def chords(self, count: int) -> dict[str, float]:
        """Send many small chords, and wait for all of them."""
        start = time.perf_counter()
        results = [self.chord(CHORD).apply_async() for _ in range(count)]
        for result in results:
            _check(result.get(timeout=PATIENCE), CHORD)
        return {"whole": time.perf_counter() - start}


VERBS: dict[str, Callable[[Sender, int], dict[str, float]]] = {
    "group": Sender.group_sent, "chord": Sender.chord_whole, "plain": Sender.plain, "chain": Sender.chains,
    "chords": Sender.chords,
}  # fmt: skip


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _check(found: object, right: object) -> None:
    if found != right:
        raise RuntimeError(f"a canvas ended with {found!r}, not {right!r}")


def main(package: str, verb: str, count: str) -> None:
    """Warm, then run one verb."""
    sender = Sender(package)
    if verb != "group":  # its members stay where they are
        VERBS[verb](sender, 2)
    print(json.dumps(VERBS[verb](sender, int(count))))


if __name__ == "__main__":
    main(*sys.argv[1:])
