"""The settings that every run of a worker process has in common."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

from lavoro.protocol.failure import MOST
from lavoro.protocol.message import Job
from lavoro.protocol.place import Follow
from lavoro.protocol.signing import Keyring

_no_limit: AbstractContextManager[None] = contextlib.nullcontext()


class RunSettings(NamedTuple):
    """The values of the worker process and its settings that each run uses."""

    hostname: str
    accept: frozenset[str] = frozenset({"json"})
    max_result_size: int = 16_000_000
    max_error_size: int = MOST
    """Most characters that are kept of an exception's arguments, and of its traceback."""
    limit: Callable[[float, BaseException], AbstractContextManager[Any]] = lambda seconds, error: _no_limit
    """Raises the error inside the block after so many seconds; it is the method of the pool."""
    limits_hard: bool = False
    """Whether ``limit`` enforces hard limits too; the supervisor also does, by the end of the process."""
    report: Callable[[Job, str, Any], None] | None = None
    """Stores a state of the task's own with its metadata."""
    eager: bool = False
    together: int = 1
    """The number of tasks that run in this process at once, and share its resources."""
    strict_results: bool = False
    """Whether a result that cannot be stored fails its task; else null is stored."""
    unknown_task_delay: tuple[float, float] = (1.0, 300.0)
    """Seconds until the next try of a task that only another release knows, and the most to which they grow."""
    consumer: Any = None
    """The sender of signals that have no known task."""
    gather: Callable[[str], list[Any]] | None = None
    """Reads the results of the members of a barrier, of which a chord's body gets the list."""
    follow: Callable[[Any, str, Any, str | None], Follow | None] | None = None
    """Composes what follows a run, from its request, its state, its value or exception, and its traceback."""
    keyring: Keyring | None = None
    """Verifies signatures; None: they are ignored."""
