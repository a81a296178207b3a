"""Stops copied greenlets: in a process that a greenlet forks, no other greenlet of its parent runs again."""

from __future__ import annotations

import contextlib
import gc
import sys
import weakref
from types import FrameType
from typing import Any

import gevent
from gevent._hub_local import get_hub_if_exists
from gevent.exceptions import LoopExit
from gevent.subprocess import Popen
from greenlet import getcurrent, greenlet, settrace

_own: weakref.WeakSet[greenlet] = weakref.WeakSet()
"""The hub, the greenlet that has forked, and those that have begun since."""
_turned: weakref.WeakSet[greenlet] = weakref.WeakSet()
"""Copied greenlets that were switched to, and have gone back to the hub for ever."""
_forker: Any = None
_start_of_a_program: Any = getattr(getattr(Popen, "_execute_child", None), "__code__", None)
_stopped: list[Any] = []
"""Watchers that would have woken copied greenlets; kept, because a freed greenlet runs its ``finally`` blocks."""


def leave_behind() -> None:
    """In a forked process, wake no greenlet but the one that has forked.

    The watchers of the hub are stopped. A lock or an event that the fork sets may still reach a copied greenlet: it
    goes back to the hub as soon as it is switched to. The loop stays: only the first one of a process can wait for
    subprocesses.
    """
    global _forker
    hub = get_hub_if_exists()
    if hub is None or _becomes_a_program():
        return  # a thread that no greenlet has run in; or nothing runs but the start of a program
    _forker = getcurrent()
    _own.clear()
    _own.update((hub, _forker))
    _stop_waking(hub.loop)
    gc.freeze()  # garbage of the parent is not freed here
    settrace(_turn_back)


def _becomes_a_program() -> bool:
    """Return whether gevent's Popen has forked, which runs no code of the user's until its program begins.

    A search of all objects for watchers would make each start of a program 6 ms longer, or 50 ms in a large
    application.
    """
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        if frame.f_code is _start_of_a_program:
            return frame.f_locals["preexec_fn"] is None
        frame = frame.f_back
    return False


def _stop_waking(loop: Any) -> None:
    watchers = [found for found in gc.get_referrers(loop) if isinstance(found, loop.WatcherType)]
    for waking in (*watchers, *loop._callbacks):
        callback = waking.callback
        if callback is None or getattr(callback, "__self__", None) is _forker:
            continue  # a time limit of the code that has forked
        _stopped.append((waking, callback, waking.args))
        waking.stop()


def _turn_back(event: str, switch: tuple[greenlet, greenlet]) -> None:
    """Called by each switch, in the greenlet switched to."""
    target = switch[1]
    if target in _own or target in _turned:
        return
    if sys._getframe().f_back is None:  # it begins
        _own.add(target)
    elif event != "throw" or target.parent is not None:
        _turned.add(target)
        while True:
            with contextlib.suppress(BaseException):  # an error thrown into it is ignored
                gevent.get_hub().switch()
    # An error that the hub throws into the main greenlet ends the process.


def reason_of(error: BaseException) -> BaseException | None:
    """Return the error that ends a fork; None if its hub has nothing left to wait for, and its work is done."""
    if not isinstance(error, LoopExit) or not _forker.dead:
        return error
    with contextlib.suppress(AttributeError):  # a plain greenlet; gevent has printed what ended one of its own
        if _forker.exception is not None:
            return SystemExit(1)
    return None
