"""Takes the worker's pipe, signal handlers and greenlets away from a process that a task forks."""

from __future__ import annotations

import faulthandler
import os
import signal
import threading
from collections.abc import Iterable
from functools import partial
from importlib import import_module
from typing import Any

from lavoro.runtime import forking
from lavoro.runtime.forking import detach, in_each_fork
from lavoro.runtime.native import patched

DEFAULTS: dict[signal.Signals, Any] = {
    signal.SIGTERM: signal.SIG_DFL, signal.SIGHUP: signal.SIG_DFL, signal.SIGQUIT: signal.SIG_DFL,
    signal.SIGINT: signal.default_int_handler, signal.SIGUSR2: signal.SIG_DFL,
}  # fmt: skip
"""The signals that a worker process handles in a way of its own, and how Python handles them by default."""

_masks: dict[int, set[int | signal.Signals]] = {}
"""The blocked signals, by thread, from before a fork that is under way."""


def prepare(descriptors: Iterable[int]) -> None:
    """Let each process that is forked from now on drop the worker's descriptors, signal handlers and greenlets.

    Connections and locks register themselves (``in_each_fork``). A signal is held back until the default handlers are
    in place: ``Process.start()`` is often followed by ``terminate()`` at once.
    """
    forking.worker = True
    os.register_at_fork(before=_hold_signals, after_in_parent=_release_signals)
    in_each_fork(partial(_drop, list(descriptors)))
    if patched():
        in_each_fork(_copies().leave_behind)
    in_each_fork(_release_signals)


def _hold_signals() -> None:
    _masks[threading.get_ident()] = signal.pthread_sigmask(signal.SIG_BLOCK, DEFAULTS)


def _release_signals() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _masks.pop(threading.get_ident()))


def _drop(descriptors: list[int]) -> None:
    for number, handler in DEFAULTS.items():
        signal.signal(number, handler)
    faulthandler.unregister(signal.SIGUSR1)
    for descriptor in descriptors:
        detach(descriptor)


def reason_of(error: BaseException) -> BaseException | None:
    """Return the error that ends a fork, for an error in its main thread; None if its work is done."""
    return _copies().reason_of(error) if patched() else error


def _copies() -> Any:
    return import_module("lavoro.worker.child.pools.copies")
