"""The outcomes of Celery's integration tests: what a run has found, as a file, and as a table."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

PASSED = "passed"
FAILED = "failed"
LISTED = "listed"
"""It fails, or is not run, as `expected_failures.txt` says."""
SKIPPED = "skipped"
"""Celery skips it, or expects it to fail."""
KINDS = (PASSED, FAILED, LISTED, SKIPPED)


@dataclass
class Outcomes:
    """The outcomes of a part of the tests by their ids, and what is wrong with the list."""

    tests: dict[str, str] = field(default_factory=dict)
    passing: list[str] = field(default_factory=list)
    """Tests that pass, and are listed."""
    unneeded: list[str] = field(default_factory=list)
    """Entries that name no test."""

    @classmethod
    def load(cls, file: Path) -> Outcomes:
        """Read a file; there is none of a run that broke off."""
        return cls(**json.loads(file.read_text())) if file.exists() else cls()

    def save(self, file: Path) -> None:
        """Write a file."""
        file.write_text(json.dumps(asdict(self)))


def told(pool: str, parts: Iterable[Outcomes]) -> str:
    """Return the table of what became of all tests, by file, and what is wrong with the list."""
    files: dict[str, Counter[str]] = {}
    tests: dict[str, str] = {}
    wrong: set[str] = set()
    for part in parts:
        tests |= part.tests
        wrong.update(f"passes, and expected_failures.txt lists it: {test}" for test in part.passing)
        wrong.update(f"no test has this name, and expected_failures.txt has it: {entry}" for entry in part.unneeded)
    for test, outcome in tests.items():
        files.setdefault(test.partition("::")[0], Counter())[outcome] += 1
    total = sum(files.values(), Counter())
    rows = [*sorted(files.items()), (f"pool {pool}", total)]
    width = max(len(name) for name, _ in rows)
    lines = [" " * width + "".join(f"{kind:>9}" for kind in KINDS)]
    lines += [f"{name:{width}}" + "".join(f"{counts[kind]:>9}" for kind in KINDS) for name, counts in rows]
    return "\n".join([*lines, *sorted(wrong), ""])
