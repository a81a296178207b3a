"""The settings that every run of a worker process has in common."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

from lavoro.protocol.failure import MOST
from lavoro.protocol.message import Job
from lavoro.protocol.signing import Keyring

_no_limit: AbstractContextManager[None] = contextlib.nullcontext()


class RunSettings(NamedTuple):
    """What the worker process and its settings say about each run."""

    hostname: str
    accept: frozenset[str] = frozenset({"json"})
    max_result_size: int = 16_000_000
    max_error_size: int = MOST
    """Characters that are kept of an exception's arguments, and of its traceback."""
    limit: Callable[[float, BaseException], AbstractContextManager[Any]] = lambda seconds, error: _no_limit
    """Raises the error inside the block after so many seconds; the pool's own way of doing it."""
    limits_hard: bool = False
    """Whether ``limit`` enforces hard limits too; the supervisor enforces them in any case, more roughly."""
    report: Callable[[Job, str, Any], None] | None = None
    """Stores a state of the task's own with its metadata."""
    eager: bool = False
    together: int = 1
    """Tasks that run in this process at once, and share what it has."""
    strict_results: bool = False
    """Whether a result that cannot be stored fails its task; else null is stored."""
    unknown_task_delay: tuple[float, float] = (1.0, 300.0)
    """Seconds for which a task waits that only a newer release understands, and the most they grow to."""
    consumer: Any = None
    """The sender of signals that are about no known task."""
    keyring: Keyring | None = None
    """Verifies signatures; None: there are none, or they are not looked at."""
