"""Retries in eager mode: each try follows at once, with what the one before has changed."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from lavoro import Lavoro, Task, signals
from lavoro.exceptions import (
    MaxRetriesExceededError,
    Retry,
)
from tests.api.eager.told import Told


def test_retry_follows_at_once_with_what_was_changed(app: Lavoro) -> None:
    @app.task(bind=True, base=Told)
    def grow(self: Task[..., Any], number: int, trace: Any = None) -> Any:
        if self.request.retries < 2:
            raise self.retry((number + 1,), {"trace": number}, exc=ValueError(number), headers={"last": number})
        return number, trace, self.request.last, self.request.retries

    result = grow.apply_async((1,), countdown=60)
    assert result.get() == (3, 2, 2, 2)
    assert [entry[1] for entry in grow.told if entry[0] == "on_retry"] == [  # type: ignore[attr-defined]
        "ValueError(1)", "ValueError(2)",
    ]  # fmt: skip


def test_retry_without_exc_ends_with_max_retries_exceeded(app: Lavoro) -> None:
    @app.task(bind=True, max_retries=1)
    def insist(self: Task[..., Any], x: int) -> Any:
        try:
            raise ValueError("inner")
        except ValueError:
            self.retry()

    with pytest.raises(MaxRetriesExceededError, match=r"Can't retry .*insist\[.*args:\(5,\)") as caught:
        insist.delay(5).get()
    assert caught.value.task_args == (5,)
    assert isinstance(caught.value.__context__, ValueError)


def test_task_may_catch_that_there_are_no_more_retries(app: Lavoro) -> None:
    @app.task(bind=True, max_retries=0)
    def insist(self: Task[..., Any]) -> str:
        try:
            raise ValueError
        except ValueError:
            try:
                self.retry()
            except self.MaxRetriesExceededError:
                return "gave up"
        return "never"

    assert insist.delay().get() == "gave up"


def test_max_retries_of_the_call_and_without_limit(app: Lavoro) -> None:
    @app.task(bind=True, max_retries=None)
    def insist(self: Task[..., Any], limit: int | None) -> int:
        if self.request.retries < 10:
            self.retry(max_retries=limit, countdown=0)
        return int(self.request.retries)

    assert insist.delay(None).get() == 10
    with pytest.raises(MaxRetriesExceededError):
        insist.delay(4).get()


def test_retry_that_does_not_throw(app: Lavoro) -> None:
    seen: list[Any] = []

    @app.task(bind=True)
    def once(self: Task[..., Any]) -> str:
        if not self.request.retries:
            seen.append(self.retry(throw=False, countdown=7))
        return "done"

    result = once.delay()
    assert (result.get(), result.state, len(seen)) == ("done", "SUCCESS", 1)
    assert isinstance(seen[0], Retry)
    assert seen[0].when == 7
    assert seen[0].humanize() == "in 7s"


@pytest.mark.parametrize("throw", [False, True])
def test_returned_retry_is_the_next_try(app: Lavoro, throw: bool) -> None:
    @app.task(bind=True, max_retries=3)
    def again(self: Task[..., Any]) -> Any:
        return self.retry(throw=False) if self.request.retries < 3 else "done"

    result = again.apply(throw=throw)
    assert (result.get(), result.state) == ("done", "SUCCESS")


def test_time_of_a_retry(app: Lavoro) -> None:
    @app.task(bind=True, default_retry_delay=9)
    def once(self: Task[..., Any], **how: Any) -> Any:
        if not self.request.retries:
            raise self.retry(**how)

    naive = dt.datetime(2030, 1, 1)
    times: list[Any] = []
    signals.task_retry.connect(lambda reason, **_: times.append(reason.when), weak=False, dispatch_uid="times")
    for how in ({}, {"countdown": 0}, {"countdown": 2.5}):
        once.delay(**how)
    app.conf.accept_content = ["json"]
    once.delay(eta=naive)
    signals.task_retry.disconnect(dispatch_uid="times")
    assert times == [9, 0, 2.5, naive.replace(tzinfo=dt.timezone.utc)]


def test_retry_called_directly_raises_the_error(app: Lavoro) -> None:
    @app.task(bind=True)
    def fail(self: Task[..., Any], known: bool) -> None:
        try:
            raise KeyError("inner")
        except KeyError as error:
            raise self.retry(exc=error if known else None) from None

    with pytest.raises(KeyError):
        fail(True)
    with pytest.raises(Retry, match="Task can be retried"):
        fail(False)


def test_autoretry(app: Lavoro) -> None:
    tries: list[int] = []

    @app.task(bind=True, autoretry_for=(ArithmeticError,), dont_autoretry_for=(OverflowError,), max_retries=2)
    def calculate(self: Task[..., Any], error: str) -> str:
        tries.append(self.request.retries)
        raise {"zero": ZeroDivisionError, "over": OverflowError, "key": KeyError}[error]

    for error, kind, count in (("zero", ZeroDivisionError, 3), ("over", OverflowError, 1), ("key", KeyError, 1)):
        tries.clear()
        with pytest.raises(kind):
            calculate.delay(error).get()
        assert tries == list(range(count))
    with pytest.raises(ZeroDivisionError):
        calculate("zero")


@pytest.mark.parametrize("own", [{}, {"max_retries": None}, {"retry_kwargs": {"max_retries": 5}}])
@pytest.mark.parametrize("limit", [0, 1])
def test_the_limit_of_a_retry_holds_for_autoretry_too(app: Lavoro, own: dict[str, Any], limit: int) -> None:
    tries: list[int] = []

    @app.task(bind=True, autoretry_for=(Exception,), default_retry_delay=0, **own)
    def give_up(self: Task[..., Any], other: bool) -> None:
        tries.append(self.request.retries)
        try:
            raise self.retry(exc=KeyError("enough"), max_retries=limit)
        except KeyError:
            if other:
                raise ValueError("another") from None
            raise

    for other, kind in ((False, KeyError), (True, ValueError)):
        tries.clear()
        with pytest.raises(kind):
            give_up.delay(other).get()
        assert tries == list(range(limit + 1))


@pytest.mark.parametrize("own", [{}, {"retry_kwargs": {"max_retries": 9}}])
def test_the_limit_of_a_retry_holds_in_later_runs_too(app: Lavoro, own: dict[str, Any]) -> None:
    tries: list[int] = []

    @app.task(bind=True, autoretry_for=(KeyError,), max_retries=9, default_retry_delay=0, **own)
    def give_up(self: Task[..., Any]) -> None:
        tries.append(self.request.retries)
        if not self.request.retries:
            raise self.retry(max_retries=2)
        raise KeyError

    assert give_up.delay().failed()
    assert tries == [0, 1, 2]


def test_a_class_may_override_the_limit_of_autoretry(app: Lavoro) -> None:
    tries: list[int] = []

    class Stubborn(Task[..., Any]):
        override_max_retries = 5

    @app.task(bind=True, base=Stubborn, autoretry_for=(KeyError,), max_retries=1)
    def give_up(self: Task[..., Any]) -> None:
        tries.append(self.request.retries)
        raise KeyError

    assert give_up.delay().failed()
    assert tries == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("how", "args", "kwargs", "expected"),
    [
        ({"args": (7,)}, (), {"x": 1, "y": 5, "z": 6}, (7, 5, (), 6)),
        ({"args": (7, 8)}, (1,), {"y": 5}, (7, 8, (), 3)),
        ({"kwargs": {"x": 7}}, (1, 5), {}, (7, 5, (), 3)),
        ({"kwargs": {"z": 7}}, (1, 5, 9), {}, (1, 5, (9,), 7)),
        ({"args": (7,), "kwargs": {}}, (1, 5), {"z": 6}, (7, 2, (), 3)),
        ({}, (1, 5), {"z": 6}, (1, 5, (), 6)),
    ],
)
def test_arguments_of_a_retry_are_merged(app: Lavoro, how: Any, args: Any, kwargs: Any, expected: Any) -> None:
    @app.task(bind=True)
    def add(self: Task[..., Any], x: int, y: int = 2, *more: int, z: int = 3) -> Any:
        if not self.request.retries:
            raise self.retry(**how)
        return x, y, more, z

    assert add.delay(*args, **kwargs).get() == expected


def test_backoff_of_autoretry_is_celerys(app: Lavoro) -> None:
    times: list[Any] = []

    @app.task(autoretry_for=(KeyError,), retry_backoff=3, retry_backoff_max=40, retry_jitter=False, max_retries=5)
    def fail() -> None:
        raise KeyError

    signals.task_retry.connect(lambda reason, **_: times.append(reason.when), weak=False, dispatch_uid="times")
    with pytest.raises(KeyError):
        fail.delay().get()
    signals.task_retry.disconnect(dispatch_uid="times")
    assert times == [3, 6, 12, 24, 40]
