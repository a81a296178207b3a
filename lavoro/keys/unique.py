"""Unique tasks: a name that only one task holds, for as long as its mode says."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

UNTIL = ("done", "start")


class Unique(dict[str, Any]):
    """Only one task of a key exists at the same time; a second call gets the result of the first.

    ``until``: ``"done"``, through all retries; or ``"start"``, until its first start. ``seconds``: for so long after
    the call instead, also when the task has ended. Without a key the arguments make it. ``scope``: calls of this
    ``"task"``, of any task on the same ``"queue"``, or of ``"all"`` share the key. ``on_conflict``: a second call gets
    the ``"existing"`` result, or raises an ``"error"``::

        @app.task(unique=Unique("invoice:{number}"))
        def send_invoice(number: int) -> None: ...
    """

    def __init__(
        self, key: str | Callable[..., object] | None = None, *, until: str = "done",
        seconds: float | dt.timedelta | None = None, scope: str = "task", on_conflict: str = "existing",
    ) -> None:  # fmt: skip
        if isinstance(seconds, dt.timedelta):
            seconds = seconds.total_seconds()
        if until not in UNTIL:
            raise ValueError(f"until must be 'done' or 'start', not {until!r:.80}")
        if seconds is not None and (isinstance(seconds, bool) or not 0 < seconds <= 10 * 366 * 86400):
            raise ValueError(f"seconds must be a number up to ten years, or a timedelta, not {seconds!r}")
        if scope not in ("task", "queue", "all"):
            raise ValueError(f"scope must be 'task', 'queue' or 'all', not {scope!r:.80}")
        if on_conflict not in ("existing", "error"):
            raise ValueError(f"on_conflict must be 'existing' or 'error', not {on_conflict!r:.80}")
        super().__init__(key=key, until=until, seconds=seconds, scope=scope, on_conflict=on_conflict)


def read_unique(value: object) -> Unique | None:
    """Return the value of the option ``unique``; None for none. Raises ``ValueError`` for a value that is none."""
    if isinstance(value, Unique):
        return value
    if value is None or value is False:
        return None
    if value is True:
        return Unique()
    if isinstance(value, str):
        return Unique(value)
    if isinstance(value, dict) and "until" in value:  # of a signature that has travelled
        return Unique(**value)
    raise ValueError(f"unique must be True, a key or Unique(...), not {value!r:.80}")
