"""Limits: how many tasks of a key run at the same time, or start in a period."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable
from typing import Any

MOST = 1_000_000_000

Key = str | Callable[..., object]
"""A template, or a function of the arguments of a call."""


class Limit(dict[str, Any]):
    """At most so many tasks of a key run at the same time, over all workers; 0: none starts.

    The key is a name, a template such as ``"tenant:{tenant}"``, or a function of the arguments. It is a dict, so that
    it travels in a signature's options; a function as key works in the decorator only::

        @app.task(limits=[Limit("tenant:{tenant}", running=1)])
        def import_orders(tenant: str) -> None: ...

    Raises ``ValueError`` for a number that is none.
    """

    def __init__(self, key: Key, running: int) -> None:
        super().__init__(key=key, running=_number("running", running, least=0))


class Rate(dict[str, Any]):
    """At most ``number`` tasks of a key start in each ``per`` seconds, over all workers; 0: none starts.

    ``burst``: how many may start at once; the number of a tenth of a second if it is not given, and at least 1. In no
    period start more than ``number + burst``::

        @app.task(limits=[Rate("smtp", 10, per=1)])
        def send_mail(to: str) -> None: ...
    """

    def __init__(self, key: Key, number: int, per: float | dt.timedelta = 1, burst: int | None = None) -> None:
        seconds = per.total_seconds() if isinstance(per, dt.timedelta) else per
        if isinstance(seconds, bool) or not 0 < seconds <= 366 * 86400:
            raise ValueError(f"per must be a number of seconds up to a year, or a timedelta, not {per!r}")
        number = _number("number", number, least=0)
        if burst is None:
            burst = max(1, math.ceil(number / seconds / 10))
        super().__init__(key=key, rate=number, per=float(seconds), burst=_number("burst", burst, least=1))


def read_limit(value: object) -> dict[str, Any]:
    """Return the terms of a limit, with its key; raises ``ValueError`` for a value that is none."""
    if isinstance(value, (Limit, Rate)):
        return value
    if isinstance(value, dict) and "key" in value:  # of a signature that has travelled
        terms = {name: term for name, term in value.items() if term is not None}
        if terms.keys() == {"key", "running"}:
            return Limit(**terms)
        if {"key", "rate"} <= terms.keys() <= {"key", "rate", "per", "burst"}:
            return Rate(terms.pop("key"), terms.pop("rate"), **terms)
    raise ValueError(
        f"limits must be a list of Limit(key, running=...) and Rate(key, number, per=...), not {value!r:.80}"
    )


def read_limits(value: object) -> list[dict[str, Any]]:
    """Return the terms of the option ``limits``: of one limit, or of a list."""
    return [read_limit(each) for each in (value if isinstance(value, (list, tuple)) else [value])]


def _number(name: str, value: object, *, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= MOST:
        raise ValueError(f"{name} must be a whole number from {least} to {MOST}, not {value!r:.80}")
    return value
