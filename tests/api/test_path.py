"""The way of a call: six functions to its statement, each called by the one before, and few looks for its result."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import psycopg
import pytest

import lavoro
from lavoro import Lavoro
from lavoro.exceptions import TimeoutError
from lavoro.store.prepared import Prepared

PACKAGE = str(Path(lavoro.__file__).parent)
STATEMENT = {psycopg.Cursor.execute.__code__, Prepared.answer.__code__}
"""Called to send a statement, or just after it was sent from C."""
PATH = ["delay", "apply_async", "publish", "insert", "insert", "run_prepared"]


def paths_to_statements(call: Callable[[], object]) -> list[list[str]]:
    """Return, for each statement that a call sends, the functions of the package that it is inside of."""
    found: list[list[str]] = []

    def profile(frame: FrameType, event: str, argument: object) -> None:
        if event == "call" and frame.f_code in STATEMENT:
            names, outer = list[str](), frame.f_back
            while outer is not None:
                if outer.f_code.co_filename.startswith(PACKAGE):
                    names.insert(0, outer.f_code.co_name)
                outer = outer.f_back
            if names[-1] != "prepare":  # once for each connection
                found.append(names)

    sys.setprofile(profile)
    try:
        call()
    finally:
        sys.setprofile(None)
    return found


def test_a_call_passes_six_functions(app: Lavoro) -> None:
    add = app.task(name="add")(lambda x, y: x + y)
    add.delay(1, 1)  # connects
    assert paths_to_statements(lambda: add.delay(1, 2)) == [PATH]


def test_options_and_receivers_of_signals_add_none(app: Lavoro) -> None:
    add = app.task(name="add")(lambda x, y: x + y)
    add.delay(1, 1)

    def receive(**_: Any) -> None: ...

    lavoro.signals.before_task_publish.connect(receive)
    lavoro.signals.after_task_publish.connect(receive)
    try:
        found = paths_to_statements(lambda: add.apply_async((1, 2), priority=3, headers={"a": 1}))
    finally:
        lavoro.signals.before_task_publish.disconnect(receive)
        lavoro.signals.after_task_publish.disconnect(receive)
    assert found == [PATH[1:]]


@pytest.mark.parametrize("options", [{"countdown": 60}, {"task_id": "of my own"}])
def test_what_few_calls_have_adds_three(app: Lavoro, options: dict[str, Any]) -> None:
    """Their statements have more parameters, which psycopg's cursor converts."""
    add = app.task(name="add")(lambda x, y: x + y)
    add.delay(1, 1)
    (path,) = paths_to_statements(lambda: add.apply_async((1, 2), **options))
    assert path[:4] == PATH[1:5]
    assert len(path) <= len(PATH) + 2


def test_a_process_that_listens_looks_once_before_it_waits(app: Lavoro) -> None:
    def wait(seconds: float) -> None:
        with pytest.raises(TimeoutError):
            sent.get(timeout=seconds)

    sent = app.task(name="add")(lambda x, y: x + y).delay(1, 1)
    wait(0.3)  # connects
    assert app.result_listener.listening
    looks = [path for path in paths_to_statements(lambda: wait(0)) if "_fetch" in path]
    assert len(looks) == 1
