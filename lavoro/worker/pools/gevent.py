"""The gevent pool: slots are greenlets, and waiting for the network costs nothing."""

from __future__ import annotations

import uuid
from contextlib import AbstractContextManager
from typing import Any

import gevent

from lavoro.worker.pools.base import Pool


class GeventPool(Pool):
    """Greenlets; limits and interruptions reach a task when it next waits for something."""

    def handle(self) -> Any:
        """The greenlet itself."""
        return gevent.getcurrent()

    def limit(self, seconds: float, error: BaseException) -> AbstractContextManager[Any]:
        """A timer of the hub's."""
        return gevent.Timeout(seconds, error)

    def interrupt(self, id: uuid.UUID, error: BaseException) -> bool:
        """Throw into the greenlet, from the hub."""
        greenlet = self._running.get(id)
        if greenlet is None:
            return False

        def throw() -> None:
            if self._running.get(id) is greenlet:  # it may have gone on to another task since
                greenlet.throw(error)  # type: ignore[union-attr]

        gevent.get_hub().loop.run_callback(throw)
        return True


POOL = GeventPool
