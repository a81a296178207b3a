"""What Lavoro may use: invariants over the samples that an observer takes of processes and the server."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from statistics import median

from tests.faults.history import History
from tests.faults.ledger import Entry
from tests.faults.violation import Violation


def bounded(history: History) -> Iterator[Violation]:
    """I12: connections, open transactions, memory, descriptors, and processes that should be gone."""
    rules, samples = history.rules, history.of_kind("sample")
    most = max((sample["connections"] for sample in samples), default=0)
    if rules.connections is not None and most > rules.connections:
        yield Violation("I12", f"{most} connections at a time, {rules.connections} are promised")
    longest = max((sample["idle_in_transaction"] for sample in samples), default=0.0)
    if longest > rules.idle_in_transaction:
        yield Violation("I12", f"a connection of Lavoro's sat idle in a transaction for {longest:.1f} s")
    if rules.growth is not None:
        yield from _growth(samples, rules.growth)
    for entry in history.of_kind("left over"):
        yield Violation("I12", f"processes were left over: {entry['pids']}")


def _growth(samples: list[Entry], allowed: float) -> Iterator[Violation]:
    for measure in ("rss", "descriptors"):
        series: dict[str, list[float]] = defaultdict(list)
        for sample in samples:
            for pid, value in sample.detail.get(measure, {}).items():
                series[pid].append(value)
        for pid, values in series.items():
            third = len(values) // 3
            if third < 3:
                continue  # it did not live long enough to tell
            early, late = median(values[third : 2 * third]), median(values[2 * third :])
            if late > allowed * early:
                yield Violation("I12", f"{measure} of process {pid} grew from {early:.0f} to {late:.0f}")


def no_busy_loop(history: History) -> Iterator[Violation]:
    """I13: who has nothing to do, or no database, does next to nothing."""
    for quiet in history.of_kind("quiet"):
        cpu, attempts, rules = quiet["cpu_per_second"], quiet["attempts_per_second"], history.rules
        if rules.cpu is not None and cpu > rules.cpu:
            yield Violation("I13", f"{cpu:.2f} CPU seconds a second while {quiet['why']}, {rules.cpu} are allowed")
        if rules.attempts_per_second is not None and attempts > rules.attempts_per_second:
            yield Violation(
                "I13",
                f"{attempts:.1f} connections a second while {quiet['why']}, {rules.attempts_per_second} are allowed",
            )
