"""Locks in forked processes."""

from __future__ import annotations

import os
import threading

import pytest

from lavoro.runtime.forking import ForkedLock


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_process_does_not_wait_for_a_thread_of_its_parent() -> None:
    lock, taken, done = ForkedLock(), threading.Event(), threading.Event()

    def hold() -> None:
        with lock.held:
            taken.set()
            done.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        assert taken.wait(60)
        child = os.fork()
        if not child:
            os._exit(0 if lock.held.acquire(blocking=False) else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert not lock.held.acquire(blocking=False)
    finally:
        done.set()
        thread.join()
