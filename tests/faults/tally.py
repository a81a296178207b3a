"""What all rounds of a soak together have seen, and the report of it in Markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

from tests.faults.checker import rejected_ends
from tests.faults.history import History
from tests.faults.violation import Violation

ENOUGH = 8
"""Rounds from which on growth is judged: in fewer, the first quarter is mostly the start."""
MOST_GROWTH = {"connections": 1.5, "memory of all": 1.25, "memory of the node left alone": 1.25}
"""By how much the last quarter's median may exceed the first one's, as a factor."""


@dataclass
class Tally:
    """Counts; of each round the most that any sample has shown."""

    sent: int = 0
    unknown: int = 0
    rolled_back: int = 0
    finished: Counter[str] = field(default_factory=Counter)
    starts: int = 0
    again: int = 0
    lost: Counter[str] = field(default_factory=Counter)
    retried: int = 0
    unaccepted: int = 0
    ticks: Counter[str] = field(default_factory=Counter)
    """Rows of ticks by their outcome."""
    refused: int = 0
    """Outcomes, as the workers' logs tell."""
    faults: Counter[str] = field(default_factory=Counter)
    violations: list[Violation] = field(default_factory=list)
    peaks: dict[str, list[int]] = field(default_factory=lambda: {name: [] for name in MOST_GROWTH})

    def add(self, known: History, *, alone: set[str]) -> None:
        """Count a round; ``alone``: the process ids of the node that no nemesis touches."""
        outcomes = Counter(entry["outcome"] for entry in known.of_kind("outcome"))
        self.sent += outcomes["ok"]
        self.unknown += outcomes["unknown"]
        self.rolled_back += outcomes["rolled back"]
        self.finished.update(done.state for done in known.done)
        starts = Counter(entry.id for entry in known.of_kind("start"))
        self.starts += starts.total()
        self.again += starts.total() - len(starts)
        self.lost.update(_kind_of_loss(row.reason) for row in known.attempts if row.state == "LOST")
        self.retried += sum(row.state == "RETRY" for row in known.attempts)
        self.unaccepted += rejected_ends(known)
        self.ticks.update(tick.outcome for tick in known.ticks)
        samples = known.of_kind("sample")
        connections = [int(sample["connections"]) for sample in samples]
        memory = [sum(sample["rss"].values()) for sample in samples]
        theirs = [sum(of for pid, of in sample["rss"].items() if pid in alone) for sample in samples]
        for name, values in zip(self.peaks, (connections, memory, theirs), strict=True):
            self.peaks[name].append(max(values, default=0))

    def quarters(self, name: str) -> tuple[float, float]:
        """The medians of the peaks of the first and of the last quarter of the rounds."""
        peaks = self.peaks[name]
        size = max(1, len(peaks) // 4)
        return median(peaks[:size]), median(peaks[-size:])

    def judge(self) -> None:
        """Growth over all rounds is a violation too."""
        for name, allowed in MOST_GROWTH.items():
            first, last = self.quarters(name)
            if len(self.peaks[name]) >= ENOUGH and last > allowed * first:
                self.violations.append(Violation("I12", f"{name} grew from {first:,.0f} to {last:,.0f}"))


_LOSSES = {
    "was ended by": "a process died",
    "its lease expired": "its node's lease expired",
    "lease was lost": "its lease was lost to another node",
    "could not be renewed": "its lease could not be renewed",
    "had no lease": "its worker had no lease any more",
}


def _kind_of_loss(reason: str | None) -> str:
    return next((kind for words, kind in _LOSSES.items() if words in (reason or "")), reason or "no reason")


def counts(tally: Tally) -> list[str]:
    """The rows of the table of what has happened."""
    return [
        f"| tasks known to be stored | {tally.sent:,} |",
        f"| calls whose answer was lost (stored once or not at all) | {tally.unknown:,} |",
        f"| calls in a transaction or savepoint that was rolled back | {tally.rolled_back:,} |",
        *(f"| ended as {state} | {count:,} |" for state, count in sorted(tally.finished.items())),
        f"| starts | {tally.starts:,} |",
        f"| starts of a task that had started before | {tally.again:,} |",
        f"| retries | {tally.retried:,} |",
        f"| starts recorded as lost | {tally.lost.total():,} |",
        *(f"| … because {reason} | {count:,} |" for reason, count in sorted(tally.lost.items())),
        f"| tasks that reached their end without their outcome being accepted | {tally.unaccepted:,} |",
        f"| outcomes that the fence refused | {tally.refused:,} |",
        *(f"| ticks of schedules that were {outcome} | {count:,} |" for outcome, count in sorted(tally.ticks.items())),
        f"| **violations** | **{len(tally.violations)}** |",
    ]


def flatness(tally: Tally) -> list[str]:
    """The rows of the table of what must not grow."""
    rows = []
    for name, allowed in MOST_GROWTH.items():
        first, last = tally.quarters(name)
        unit, scale = (" MiB", 2**20) if "memory" in name else ("", 1)
        rows.append(f"| {name} | {first / scale:,.0f}{unit} | {last / scale:,.0f}{unit} | {allowed:g} times as much |")
    return rows


def report(tally: Tally, *, preface: Sequence[str]) -> str:
    """What the soak has found."""
    lines = [
        *preface,
        "",
        "| what | count |",
        "|---|---|",
        *counts(tally),
        "",
        "Of each round the most that a sample has shown; of these the medians:",
        "",
        "| what | first quarter of the rounds | last quarter | allowed |",
        "|---|---|---|---|",
        *flatness(tally),
        "",
        "| fault | times |",
        "|---|---|",
        *(f"| {name} | {count} |" for name, count in sorted(tally.faults.items())),
        "",
        *(f"- {violation}" for violation in tally.violations[:50]),
    ]
    return "\n".join(lines) + "\n"
