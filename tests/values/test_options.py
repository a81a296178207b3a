"""Options of tasks are checked where the task is made, whoever gives them."""

from __future__ import annotations

import datetime as dt
import functools
import math
from types import SimpleNamespace
from typing import Any

import pytest

from lavoro import Lavoro, Task
from lavoro.calling.options import TASKS
from lavoro.exceptions import ImproperlyConfigured

MINUTE = dt.timedelta(minutes=1)


class OwnError(Exception):
    """An error of an application."""


def f() -> None: ...


WRONG: dict[str, list[Any]] = {
    "max_retries": ["3", -1, True, [3]],
    "default_retry_delay": ["5", -1, math.nan],
    "autoretry_for": ["ValueError", ValueError("x"), (ValueError, "x"), [int], int, 5, {"a": 1}, f],
    "dont_autoretry_for": ["ValueError", (int,), 5],
    "throws": ["ValueError", (int,), 5],
    "retry_kwargs": [5, [1], {"max_retries": "3"}, {"countdown": "5"}, {"exc": OwnError()}, {"throw": False}],
    "retry_backoff": ["2", -1, math.inf, [1]],
    "retry_backoff_max": ["600", -1, math.nan],
    "retry_jitter": ["no", 5, []],
    "before": [5, "f", [f, 5], {"a": f}],
    "after": [5, "f", [f, 5], {"a": f}],
    "queue": [5, "", ["a"]],
    "priority": ["5", 2**15, 1.5],
    "expires": [[5], True],
    "time_limit": ["60", -1, math.inf, True],
    "soft_time_limit": ["60", -0.5],
    "rate_limit": ["10/d", -1],
    "limits": [3, ["tenant"], [{}], [{"key": "a", "running": -1}]],
    "serial": [5, ""],
    "unique": [3, 2.5, ["a"]],
    "serializer": [5, ""],
    "result_serializer": [5, ""],
    **{option: ["no", 2, []] for option in (
        "acks_late", "reject_on_worker_lost", "acks_on_failure_or_timeout", "acks_on_failure",
        "acks_on_timeout", "store_eager_result", "track_started", "ignore_result",
        "store_errors_even_if_ignored", "typing", "send_events", "trail",
    )},
}  # fmt: skip
RIGHT: dict[str, list[tuple[Any, Any]]] = {
    "max_retries": [(None, None), (0, 0), (3, 3), (math.inf, math.inf)],
    "default_retry_delay": [(0, 0), (1.5, 1.5), (MINUTE, 60.0)],
    "autoretry_for": [
        (OwnError, (OwnError,)),
        ([OwnError, KeyError], (OwnError, KeyError)),
        ((), ()),
        ({OSError},) * 2,
    ],
    "dont_autoretry_for": [(OwnError, (OwnError,)), (KeyboardInterrupt, (KeyboardInterrupt,))],
    "throws": [(OwnError, (OwnError,)), ([OwnError], (OwnError,))],
    "retry_kwargs": [({"max_retries": 5, "countdown": MINUTE, "queue": "x"},) * 2, (None, None), ({},) * 2],
    "retry_backoff": [(True, True), (0, 0), (2.5, 2.5), (MINUTE, 60.0)],
    "retry_backoff_max": [(7, 7), (MINUTE, 60.0)],
    "queue": [("x", "x"), (None, None)],
    "priority": [(-5, -5), (None, None)],
    "expires": [(MINUTE, MINUTE), (5, 5), ("2100-01-01", "2100-01-01")],
    "time_limit": [(MINUTE, 60.0), (0, 0), (5, 5)],
    "soft_time_limit": [(MINUTE, 60.0)],
    "rate_limit": [("10/m", "10/m"), (5, 5)],
    "typing": [(False, False)],
}


def written(option: str, value: Any) -> type[Task[..., Any]]:
    return type("Written", (Task,), {"name": "a.task", "run": f, option: value})


@pytest.mark.parametrize("option", TASKS)
def test_wrong_values_are_refused_however_they_are_given(option: str) -> None:
    app = Lavoro("shop", set_as_current=False)
    for value in WRONG[option]:
        says = rf"^task 'a.task': {option} must be .*, not "
        for make in (
            lambda value=value: app.task(name="a.task", **{option: value})(f),
            lambda value=value: app.register_task(written(option, value)),
            lambda value=value: app.register_task(written(option, value)()),
            lambda value=value: app.task(name="a.task", base=written(option, value))(f),
        ):
            with pytest.raises(ImproperlyConfigured, match=says):
                make()
        assert "a.task" not in app.tasks


@pytest.mark.parametrize("option", RIGHT)
def test_right_values_have_one_form(option: str) -> None:
    for value, usual in RIGHT[option]:
        expected = tuple(usual) if isinstance(usual, set) else usual
        for make in (
            lambda app, value=value: app.task(name="a.task", **{option: value})(f),
            lambda app, value=value: app.register_task(written(option, value)),
        ):
            found = getattr(make(Lavoro("shop", set_as_current=False)), option)
            assert (found, type(found)) == (expected, type(expected))


def test_none_stands_for_the_setting() -> None:
    app = Lavoro("shop", set_as_current=False, task_time_limit=7)
    names = ("acks_late", "time_limit", "ignore_result", "serializer")
    for task in (
        app.task(name="a.decorated", **dict.fromkeys(names))(f),
        app.register_task(type("Written", (Task,), {"name": "a.written", "run": f, **dict.fromkeys(names)})),
    ):
        assert [getattr(task, name) for name in names] == [True, 7, False, "json"]
        app.conf.task_acks_late = False
        assert task.acks_late is False
        app.conf.task_acks_late = True


def test_none_stands_for_the_default() -> None:
    """Backoff and the handling of errors read these while the task fails."""
    app = Lavoro("shop", set_as_current=False)
    names = [name for name in TASKS if name != "max_retries"]

    class Bare(Task[..., Any]):
        name = "a.bare"

        def __init__(self) -> None:
            self.retry_backoff_max = self.acks_late = None  # type: ignore[assignment]

    for task in (
        app.task(name="a.decorated", **dict.fromkeys(names))(f),
        app.register_task(type("Written", (Task,), {"name": "a.written", "run": f, **dict.fromkeys(names)})),
        app.register_task(Bare()),
    ):
        plain = app.task(name=f"{task.name}.plain")(f)
        assert {name: getattr(task, name) for name in names} == {name: getattr(plain, name) for name in names}
    assert (task.retry_backoff_max, task.acks_late, task.throws) == (600, True, ())


def test_values_that_an_instance_or_a_property_has() -> None:
    class Written(Task[..., Any]):
        name = "a.task"

        def __init__(self, limit: Any) -> None:
            self.max_retries = limit

        @property
        def queue(self) -> str:  # type: ignore[override]
            return "mail"

    app = Lavoro("shop", set_as_current=False)
    with pytest.raises(ImproperlyConfigured, match="max_retries must be a number"):
        app.register_task(Written("3"))
    assert (app.register_task(Written(3)).max_retries, app.tasks["a.task"].queue) == (3, "mail")


def test_limits_that_contradict_each_other_are_refused_at_the_call() -> None:
    """As in Celery: the module that defines such a task can be imported, and its other tasks be called."""
    app = Lavoro("shop", set_as_current=False)
    task = app.task(name="a.task", time_limit=MINUTE, soft_time_limit=90)(f)
    with pytest.raises(ValueError, match=r"soft_time_limit must be .* 90 s is more than 60 s"):
        task.delay()
    app.task(name="another.task", soft_time_limit=90)(f)


def test_annotations_are_options_too() -> None:
    app = Lavoro("shop", set_as_current=False, task_annotations={"a.task": {"max_retries": "3"}})
    task = app.task(name="a.task")(f)
    with pytest.raises(ImproperlyConfigured, match="task 'a.task': max_retries must be a number"):
        task.annotate()


def test_a_queue_may_be_an_object() -> None:
    app = Lavoro("shop", set_as_current=False)
    assert app.task(name="a.task", queue=SimpleNamespace(name="mail"))(f).queue.name == "mail"
    assert app.task(name="a.partial", throws=OwnError)(functools.partial(f)).throws == (OwnError,)
