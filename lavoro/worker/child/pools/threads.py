"""The thread pool: slots are threads of the operating system."""

from __future__ import annotations

import contextlib
import ctypes
import threading
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

from lavoro.worker.child.pools.base import Pool


def raise_in_thread(identity: int, error: type[BaseException] | None) -> None:
    """Raise an exception in another thread at its next bytecode; None takes back one not raised yet.

    CPython's ``PyThreadState_SetAsyncExc``: a call into C is not interrupted, the exception comes when it returns.
    """
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(identity), ctypes.py_object(error) if error else None)


class ThreadPool(Pool):
    """Threads; limits and interruptions reach a task at its next bytecode."""

    def limit(self, seconds: float, error: BaseException) -> AbstractContextManager[Any]:
        """A timer thread that raises in this one."""
        return _raising_after(seconds, threading.get_ident(), error)

    def interrupt(self, id: uuid.UUID, error: BaseException) -> bool:
        """Raise in the thread."""
        identity = self._running.get(id)
        if identity is None:
            return False
        raise_in_thread(identity, type(error))
        return True


@contextlib.contextmanager
def _raising_after(seconds: float, identity: int, error: BaseException) -> Iterator[None]:
    over, lock = False, threading.Lock()

    def expire() -> None:
        with lock:  # never after the block: the thread may run another task by then
            if not over:
                raise_in_thread(identity, type(error))

    timer = threading.Timer(seconds, expire)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        with lock:
            over = True
        timer.cancel()


POOL = ThreadPool
