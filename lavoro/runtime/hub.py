"""Waiting for descriptors on gevent's hub itself: the ``poll`` that its patches give takes 20 us longer.

To be imported only where gevent has patched: see ``native.hub``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, cast

from gevent import get_hub
from gevent.hub import Waiter

READ, WRITE = 1, 2
"""The events that end a wait; libev and psycopg have the same numbers for them."""


def wait(descriptors: Iterable[int], events: int, seconds: float) -> tuple[int, int] | None:
    """Wait for one of these events at one of the descriptors; return the events and the descriptor, None if too late.

    Other greenlets go on meanwhile. Raises ``ValueError`` for a descriptor that is not open.
    """
    hub: Any = get_hub()  # the types of gevent leave out much of its loop
    loop, waiter = hub.loop, cast(Any, Waiter)(hub)
    watchers: list[Any] = []
    try:
        for descriptor in descriptors:
            watcher = loop.io(descriptor, events)
            watchers.append(watcher)
            watcher.priority = loop.MAXPRI  # before the timer, where both are due
            watcher.start(waiter.switch_args, descriptor, pass_events=True)
        if seconds < math.inf:
            watchers.append(loop.timer(max(0.0, seconds)))
            watchers[-1].start(waiter.switch, None)
        found: tuple[int, int] | None = waiter.get()
    finally:
        for watcher in watchers:
            watcher.stop()
            watcher.close()
    if found is not None and found[0] < 0:
        raise ValueError(f"descriptor {found[1]} is not open")
    return found
