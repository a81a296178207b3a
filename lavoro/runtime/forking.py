"""Forks: a forked process drops the state of its parent, and a fork of a worker ends where its task ends."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import weakref
from collections.abc import Callable
from types import MethodType
from typing import Any, NoReturn

depth = 0
"""The number of forks between the start of this interpreter and this process."""
worker = False
"""Whether this is a process of a worker, or was forked from one."""
_drops: list[Callable[[], Callable[[], object] | None]] = []
"""References to the functions that a forked process calls; those to methods are weak."""


def in_each_fork(drop: Callable[[], object]) -> None:
    """Register a function that each process forked from now on calls; a method is called while its object lives.

    It makes locks anew: a thread that held one is gone. Python prints an error of it, and calls the next one.
    """
    _drops[:] = [reference for reference in _drops if reference() is not None]
    _drops.append(weakref.WeakMethod(drop) if isinstance(drop, MethodType) else lambda: drop)


def count_from_here() -> None:
    """Count forks from this process on: it was perhaps forked itself, and runs tasks as the first one would."""
    global depth
    depth = 0


class ForkedLock:
    """A reentrant lock, ``with lock.held:``; a forked process has a new one, for the thread that held it is gone."""

    def __init__(self) -> None:
        self._renew()
        in_each_fork(self._renew)

    def _renew(self) -> None:
        self.held = threading.RLock()


def _after_fork() -> None:
    global depth
    depth += 1
    with contextlib.ExitStack() as stack:  # last in, first out
        for reference in reversed(_drops):
            if (drop := reference()) is not None:
                stack.callback(drop)


def detach(descriptor: int) -> None:
    """Point a descriptor of the parent to ``/dev/null``.

    The other end notices nothing. The number stays taken, so that copied objects that use or close it do no harm.
    """
    nothing = os.open(os.devnull, os.O_RDWR)
    try:
        os.dup2(nothing, descriptor, inheritable=False)
    finally:
        os.close(nothing)


def leave_fork(error: BaseException | None = None) -> None:
    """End a forked process, as its own end or an error would; called where only the parent continues."""
    if depth:
        _leave(error)


def leave_new_fork(since: int, error: BaseException | None = None) -> None:
    """End a process that a receiver or handler of a worker has forked; the parent continues."""
    if worker and depth != since:
        _leave(error)


def _leave(error: BaseException | None) -> NoReturn:
    """End the process without ``atexit``, whose functions are the parent's."""
    code = 1
    try:
        code = _exit_code(error)
        for thread in threading.enumerate():  # those that the fork has started
            if thread is not threading.current_thread() and not thread.daemon:
                thread.join()
        for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
            if stream is not None:
                with contextlib.suppress(OSError, ValueError):
                    stream.flush()
    finally:
        os._exit(code)


def _exit_code(error: BaseException | None) -> int:
    if error is None:
        return 0
    if not isinstance(error, SystemExit):
        sys.excepthook(type(error), error, error.__traceback__)
        return 1
    code: Any = error.code
    if code is None or isinstance(code, int):
        return (code or 0) & 0xFF
    sys.stderr.write(f"{code}\n")
    return 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
