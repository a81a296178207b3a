"""Gives each greenlet a running asyncio loop of its own, as each thread has one."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

from greenlet import getcurrent, greenlet, settrace

from lavoro.runtime.forking import in_each_fork
from lavoro.runtime.native import unpatched

Tracer = Callable[[Any, tuple[greenlet, greenlet]], object]

_set: Callable[[Any], None] = asyncio._set_running_loop
_get: Callable[[], Any] = asyncio._get_running_loop
_swap_task: Callable[[Any, Any], Any] | None = getattr(asyncio.tasks, "_swap_current_task", None)
"""From Python 3.12 on; the task is the thread's from 3.14 on, and the loop's before."""
_ident: Callable[[], int] = unpatched("_thread", "get_ident")
_runners: set[greenlet] = set()
"""The greenlets in which a loop runs."""
_saved: dict[greenlet, _State] = {}
"""The state of such greenlets while they do not run; else it is in the thread."""
_former: list[Tracer | None] = []
"""The tracer that was there before ours; empty while none of ours is needed."""


class _State(NamedTuple):
    loop: Any
    task: Any
    hooks: Any


def prepare() -> None:
    """Keep the state of asyncio by greenlet instead of by thread.

    C code reads the running loop from the thread's state, so a tracer exchanges it at each switch of greenlets. The
    tracer is set only while a loop runs: tasks without asyncio do not pay for it.
    """
    main = _ident()

    def set_running_loop(loop: Any) -> None:
        _set(loop)
        if _ident() == main:
            _track(loop)

    asyncio.events._set_running_loop = asyncio._set_running_loop = set_running_loop
    in_each_fork(_forget)


def _track(loop: Any) -> None:
    if loop is None:
        _runners.discard(getcurrent())
    else:
        _runners.add(getcurrent())
    if _runners and not _former:
        _former.append(settrace(_exchange))
    elif _former and not _runners:
        settrace(_former.pop())


def _exchange(event: str, switch: tuple[greenlet, greenlet]) -> None:
    """Called by each switch, in the greenlet switched to."""
    origin, target = switch
    if origin in _runners:
        _saved[origin] = _save()
    if target in _saved:
        _restore(_saved.pop(target))
    if _former and _former[0] is not None:
        _former[0](event, switch)


def _save() -> _State:
    loop = _get()
    state = _State(loop, _swap_task(loop, None) if _swap_task and loop is not None else None, sys.get_asyncgen_hooks())
    _set(None)
    sys.set_asyncgen_hooks(None, None)
    return state


def _restore(state: _State) -> None:
    _set(state.loop)
    if _swap_task and state.loop is not None:
        _swap_task(state.loop, state.task)
    sys.set_asyncgen_hooks(*state.hooks)


def _forget() -> None:
    """In a forked process: the loops are the parent's."""
    _runners.clear()
    _saved.clear()
    _former.clear()
