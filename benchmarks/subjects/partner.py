"""Calls the tasks of the checkout on its path as standard input says, and prints the seconds that it took as JSON."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable

from benchmarks.subjects.tasks import noop, quiet

THREADS, LIST = 32, 1_000
PAUSE = 0.008


def one(count: int) -> list[float]:
    """Call one by one."""
    return [_seconds(lambda: noop.delay(time.time())) for _ in range(count)]


def lists(count: int) -> list[float]:
    """Send lists of calls."""
    return [_seconds(lambda: noop.delay_many([(time.time(),)] * LIST)) / LIST for _ in range(count // LIST)]


def threads(count: int) -> list[float]:
    """Call from many threads at once."""

    def call() -> None:
        for _ in range(count // THREADS):
            quiet.delay()

    def run() -> None:
        callers = [threading.Thread(target=call) for _ in range(THREADS)]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()

    return [_seconds(run) / count]


def trips(count: int) -> list[float]:
    """Call and wait for the result, one by one."""
    return [_seconds(lambda: noop.delay(time.time()).get(timeout=30)) for _ in range(count)]


def paced(count: int) -> list[float]:
    """Call and wait for the result, with a pause before each."""
    taken = []
    for _ in range(count):
        time.sleep(PAUSE)
        taken += trips(1)
    return taken


VERBS: dict[str, Callable[[int], list[float]]] = {
    "one": one, "lists": lists, "threads": threads, "trips": trips, "paced": paced,
}  # fmt: skip


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    """Answer each line, ``VERB COUNT``, with a line; the first answer says that it is ready."""
    print("[]", flush=True)
    for line in sys.stdin:
        verb, count = line.split()
        print(json.dumps(VERBS[verb](int(count))), flush=True)


if __name__ == "__main__":
    main()
