"""When a failed task is tried again: Celery's autoretry rules as pure functions."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any


def backoff(
    factor: int,
    retries: int,
    *,
    maximum: float = 600,
    full_jitter: bool = False,
    pick: Callable[[int], int] = random.randrange,
) -> int:
    """Return the countdown in seconds before retry number ``retries`` (from 0).

    Celery's formula (``get_exponential_backoff_interval``): ``min(maximum, factor * 2 ** retries)``; with full jitter
    a random whole number from 0 up to that, both included.
    """
    # Beyond 2 ** 64 every maximum is exceeded; the exponent must not grow into a number of a million digits.
    countdown = int(min(maximum, factor * 2 ** min(retries, 64)))
    if full_jitter:
        countdown = pick(countdown + 1)
    return max(0, countdown)


def autoretry_options(task: Any, retries: int, *, limit: float | None = None) -> dict[str, Any]:
    """Return what ``Task.retry`` is called with when an exception of ``autoretry_for`` was raised.

    Reads the task's ``retry_backoff``, ``retry_backoff_max``, ``retry_jitter`` and ``retry_kwargs``; the latter is
    copied, never changed, because threads share it. ``limit`` is what this run gave to ``retry`` as ``max_retries``: it
    wins over both the task's and that of ``retry_kwargs``.
    """
    options = dict(getattr(task, "retry_kwargs", None) or {})
    factor = getattr(task, "retry_backoff", False)
    if factor:
        options["countdown"] = backoff(
            int(max(1.0, float(factor))),
            retries,
            maximum=getattr(task, "retry_backoff_max", 600),
            full_jitter=getattr(task, "retry_jitter", True),
        )
    if limit is not None:
        options["max_retries"] = limit
    return options
