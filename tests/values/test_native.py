"""A native thread repeats its step while the main thread runs Python, also where gevent has patched."""

from __future__ import annotations

import logging
import queue
import subprocess
import sys
import textwrap

import pytest

from lavoro.runtime import native
from lavoro.runtime.native import NativeThread

UNDER_GEVENT = """
    from gevent import monkey
    monkey.patch_all()
    from lavoro.runtime.native import NativeThread
    steps = []
    NativeThread("counter", lambda: steps.append(1) or 0.001).start()
    while len(steps) < 3:  # the hub does not get its turn: a greenlet would never run
        pass
    print("native")
"""


def test_a_blocked_hub_does_not_stop_it() -> None:
    command = [sys.executable, "-c", textwrap.dedent(UNDER_GEVENT)]
    assert subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout == "native\n"


def test_an_error_is_logged_and_the_loop_continues(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(native, "AGAIN", 0.001)
    caplog.set_level(logging.INFO, "lavoro.worker")
    steps: queue.SimpleQueue[int] = queue.SimpleQueue()
    failures = [True, True, False, True]

    def step() -> float:
        steps.put(len(failures))
        if not failures:
            return 600.0
        if failures.pop(0):
            raise ValueError("no number")
        return 0.001

    NativeThread("counter", step).start()
    assert [steps.get(timeout=60) for _ in range(5)] == [4, 3, 2, 1, 0]
    assert caplog.messages == ["counter failed, trying again"] * 2
    assert "no number" in caplog.text
