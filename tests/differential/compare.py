"""Compare what two sides have recorded, and set what is meant apart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import NamedTuple

ABSENT = "(nothing)"
"""Stands for the value of a side that has none under a key."""


class Difference(NamedTuple):
    """One key whose values are not equal."""

    program: str
    pool: str
    key: str
    celery: str
    lavoro: str


class Meant(NamedTuple):
    """A difference that stays; program, key, values and pool are patterns as of a shell."""

    program: str
    key: str
    celery: str
    lavoro: str
    why: str
    """One sentence."""

    row: str
    """The first cell of the row in the guide's table of differences that tells of it."""

    pool: str = "*"

    def covers(self, difference: Difference) -> bool:
        """Tell whether it is this difference that is meant."""
        return all(
            fnmatchcase(value, _escaped(pattern)) for pattern, value in zip(self._patterns(), difference, strict=True)
        )

    def _patterns(self) -> tuple[str, ...]:
        return self.program, self.pool, self.key, self.celery, self.lavoro


class Verdict(NamedTuple):
    """All differences of a run, and which entries of the list explain which."""

    unexplained: list[Difference]
    explained: list[tuple[Difference, Meant]]
    no_longer: list[Meant]
    """Entries that should have shown in this run and did not: they are to be deleted."""


def differences(program: str, pool: str, celery: Mapping[str, str], lavoro: Mapping[str, str]) -> list[Difference]:
    """The keys whose values differ, in Celery's order, then those that only Lavoro has."""
    keys = [*celery, *(key for key in lavoro if key not in celery)]
    pairs = ((key, celery.get(key, ABSENT), lavoro.get(key, ABSENT)) for key in keys)
    return [Difference(program, pool, key, *values) for key, *values in pairs if values[0] != values[1]]


def judge(found: Iterable[Difference], meant: Iterable[Meant], ran: Iterable[tuple[str, str]]) -> Verdict:
    """Sort differences by the list; `ran` are the programs and pools of this run: others' entries are not asked for."""
    verdict = Verdict([], [], [])
    unused = dict.fromkeys(meant)
    entries = list(unused)
    for difference in found:
        reason = next((entry for entry in entries if entry.covers(difference)), None)
        if reason is None:
            verdict.unexplained.append(difference)
        else:
            verdict.explained.append((difference, reason))
            unused.pop(reason, None)
    there = list(ran)
    verdict.no_longer.extend(entry for entry in unused if any(_is_of(entry, *pair) for pair in there))
    return verdict


def _is_of(entry: Meant, program: str, pool: str) -> bool:
    return fnmatchcase(program, entry.program) and fnmatchcase(pool, entry.pool)


def _escaped(pattern: str) -> str:
    """Brackets stand for themselves: lists are written with them."""
    return pattern.replace("[", "[[]")
