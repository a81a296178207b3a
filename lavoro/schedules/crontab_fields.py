"""Reading the fields of a crontab."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

Field = int | str | Iterable[int]
"""A field of a crontab: a number, a text such as ``*/15``, ``8-17``, ``mon-fri``, or several numbers."""

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_NAMES = {**{name: number for number, name in enumerate(_DAYS)}, **{name: n for n, name in enumerate(_MONTHS, 1)}}
LONGEST = {1: 31, 2: 29, 3: 31, 4: 30, 5: 31, 6: 30, 7: 31, 8: 31, 9: 30, 10: 31, 11: 30, 12: 31}
"""The most days of each month."""
_PART = re.compile(r"(?:(?P<star>\*)|(?P<first>\w+)-(?P<last>\w+))(?P<slash>/(?P<step>\w*))?")


class ParseException(Exception):
    """A field of a crontab cannot be read."""


OUT_OF_RANGE = ("Invalid end range", "Invalid beginning range", "Invalid crontab pattern")
"""The first words, which are Celery's, of a ``ValueError`` for a number that is not among the values of its field."""


class crontab_parser:
    """Reads a field of a crontab: ``*``, numbers, names, ranges (also past the end, ``fri-mon``), steps, lists.

    ``max_`` is how many values the field has, ``min_`` the first::

        crontab_parser(60).parse("*/15")        # {0, 15, 30, 45}
        crontab_parser(12, 1).parse("nov-feb")  # {11, 12, 1, 2}
    """

    ParseException = ParseException

    def __init__(self, max_: int = 60, min_: int = 0) -> None:
        self.max_ = max_
        self.min_ = min_

    def parse(self, spec: str) -> set[int]:
        """Return the values; raises ParseException for what is no field, ValueError for a value out of range."""
        return {value for part in spec.split(",") for value in self._values(part.strip())}

    def _values(self, part: str) -> list[int]:
        if not part:
            raise self.ParseException("empty part")
        found = _PART.fullmatch(part)
        if found is None:
            return [self._number(part)]
        values = (
            self._all() if found["star"] else self._range(self._number(found["first"]), self._number(found["last"]))
        )
        if found["slash"] and not found["step"]:
            raise self.ParseException("empty filter")
        return values[:: int(found["step"])] if found["step"] else values

    def _all(self) -> list[int]:
        return list(range(self.min_, self.min_ + self.max_))

    def _range(self, first: int, last: int) -> list[int]:
        if first <= last:
            return list(range(first, last + 1))
        return [*range(first, self.min_ + self.max_), *range(self.min_, last + 1)]

    def _number(self, text: str) -> int:
        if text.startswith("-"):
            raise self.ParseException("negative numbers not supported")
        try:
            number = int(text)
        except ValueError:
            if (name := text[:3].lower()) not in _NAMES:
                raise ValueError(f"Invalid weekday literal {text!r}.") from None
            number = _NAMES[name]
        if number >= self.min_ + self.max_:
            raise ValueError(f"Invalid end range: {number} > {self.min_ + self.max_ - 1}.")
        if number < self.min_:
            raise ValueError(f"Invalid beginning range: {number} < {self.min_}.")
        return number


def expanded(field: Any, max_: int, min_: int = 0) -> set[int]:
    """Return the values of a field; raises what ``crontab`` raises for a wrong one."""
    if isinstance(field, int):
        values = {field}
    elif isinstance(field, str):
        values = crontab_parser(max_, min_).parse(field)
    elif isinstance(field, Iterable):
        values = set(field)
    else:
        raise TypeError(
            "Argument cronspec needs to be of any of the following types: int, str, or an iterable type."
            f" {type(field)!r} was given."
        )
    for number in values:
        if number >= min_ + max_ or number < min_:
            raise ValueError(
                f"Invalid crontab pattern.  Valid range is {min_}-{min_ + max_ - 1}. '{number}' was found."
            )
    return values
