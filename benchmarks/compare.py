"""Compares this checkout with others in turns, `python -m benchmarks.compare CHECKOUT ...`: medians of paired ratios.

The speed of a shared machine changes within seconds, by more than most changes of the code. So all checkouts are ready
at the same time, each with a worker and a database of its own on one server. They take short turns, in alternating
order, and only ratios within a round count.
"""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import click
import psutil

from benchmarks.stage.hits import Hits, new_hits
from benchmarks.stage.processes import ROOT, Group, run, running, worker
from benchmarks.stage.server import connect, empty_database, throwaway_server
from benchmarks.stage.watch import is_empty

PARTNER = str(ROOT / "benchmarks/subjects/partner.py")

Measure = Callable[["Checkout"], float]


class Checkout:
    """A checkout with a database, a process that calls, and perhaps a worker."""

    def __init__(self, root: Path, dsn: str, hits: Hits) -> None:
        path = {"PYTHONPATH": str(root), "BENCHMARKS_DSN": dsn, "LAVORO_DATABASE_URL": dsn}
        self.root, self.dsn, self.hits = root, dsn, hits
        self.env = {**os.environ, **path, **hits.environment}
        run([sys.executable, "-m", "lavoro", "migrate", "-A", "benchmarks.subjects.tasks"], env=self.env, cwd=root)
        self.group: Group | None = None
        self._partner = subprocess.Popen(
            [sys.executable, PARTNER], cwd=root, env=self.env, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._answer()

    def have(self, verb: str, count: int) -> list[float]:
        """Have calls made; return the seconds that they took."""
        assert self._partner.stdin is not None
        self._partner.stdin.write(f"{verb} {count}\n")
        self._partner.stdin.flush()
        return self._answer()

    def _answer(self) -> list[float]:
        assert self._partner.stdout is not None
        return [float(seconds) for seconds in json.loads(self._partner.stdout.readline() or "[]")]

    def drain(self, count: int) -> float:
        """Fill the queue before stopped processes, let them go, and return the seconds until the last task started."""
        assert self.group is not None
        started, members = self.hits.count(), self.group.members()
        for member in members:
            with suppress(psutil.NoSuchProcess):
                member.suspend()
        try:
            self.have("lists", count)
        finally:
            start = time.perf_counter()
            for member in members:
                with suppress(psutil.NoSuchProcess):
                    member.resume()
        self.group.wait_until(lambda: self.hits.count() >= started + count, "the last task started")
        seconds = time.perf_counter() - start
        self.settle()
        return seconds

    def settle(self) -> None:
        """Wait until all outcomes are stored."""
        assert self.group is not None
        with connect(self.dsn) as connection:
            self.group.wait_until(lambda: is_empty(connection), "the last task finished")

    def empty(self) -> None:
        """Drop what waits."""
        with connect(self.dsn) as connection:
            connection.execute("truncate lavoro.waiting")

    def close(self) -> None:
        """End the process that calls."""
        self._partner.kill()
        self._partner.wait()


@contextmanager
def checkouts(roots: Sequence[Path]) -> Iterator[list[Checkout]]:
    """Prepare them all on one server."""
    with ExitStack() as stack:
        server = stack.enter_context(throwaway_server())
        found = []
        for number, root in enumerate(roots):
            dsn = stack.enter_context(empty_database(server, f"lavoro_benchmarks_{number}"))
            found.append(Checkout(root, dsn, stack.enter_context(new_hits())))
            stack.callback(found[-1].close)
        yield found


@contextmanager
def workers(found: Sequence[Checkout], processes: int) -> Iterator[None]:
    """Run a worker for each."""
    with ExitStack() as stack:
        for each in found:
            node = running([worker(processes)], each.env, cwd=each.root, log=Path(os.devnull))
            each.group = stack.enter_context(node)
            each.have("trips", 20)
        yield


def report(name: str, found: Sequence[Checkout], measure: Measure, rounds: int) -> None:
    """Measure each checkout in each round, and print the ratios to the first."""
    taken: dict[Path, list[float]] = {each.root: [] for each in found}
    for number in range(rounds + 1):
        for each in found if number % 2 else reversed(found):
            taking = measure(each)
            if number:  # the first round warms
                taken[each.root].append(taking)
    first = taken[found[0].root]
    for root, seconds in taken.items():
        ratios = [mine / other for mine, other in zip(seconds, first, strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4)
        shown = f"{statistics.median(seconds) * 1e6:10.1f} us  {middle:.3f} ({low:.3f} to {high:.3f})"
        click.echo(f"{name:28} {shown}  {root}")


@click.command()
@click.argument("others", nargs=-1, required=True, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--rounds", type=click.IntRange(2), default=20, show_default=True, help="Turns of each measurement.")
@click.option("--tasks", type=int, default=60_000, show_default=True, help="Tasks of one turn of a drain.")
def main(others: tuple[Path, ...], rounds: int, tasks: int) -> None:
    """Print the time of this checkout divided by that of the first of OTHERS: below 1 is faster.

    Each line has the median time for a task, and the median and quartiles of the ratios. OTHERS are folders of
    checkouts, which this Python runs with the packages that are installed here.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended too
    with checkouts([*(other.resolve() for other in others), ROOT]) as found:
        for verb, count in (("one", 300), ("lists", 10_000), ("threads", 1_600)):
            report(f"call, {verb}", found, lambda each: _calls(each, verb, count), rounds * 2)  # noqa: B023
        for processes in (1, 2):
            with workers(found, processes):
                report(f"drain, {processes} processes", found, lambda each: each.drain(tasks) / tasks, rounds)
                if processes == 1:
                    for verb in ("trips", "paced"):
                        report(f"call to result, {verb}", found, lambda each: _median(each, verb), rounds * 2)  # noqa: B023


def _calls(checkout: Checkout, verb: str, count: int) -> float:
    seconds = _median(checkout, verb, count)
    checkout.empty()
    return seconds


def _median(checkout: Checkout, verb: str, count: int = 50) -> float:
    return statistics.median(checkout.have(verb, count))


if __name__ == "__main__":
    main()
