"""Running: every way in which a task can end becomes an outcome, and leaves nothing behind."""

from __future__ import annotations

import contextlib
import json
import logging
import pickle
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest

from lavoro import Lavoro
from lavoro.exceptions import (
    Ignore,
    InvalidTaskError,
    MaxRetriesExceededError,
    Reject,
    Retry,
    SecurityError,
    SoftTimeLimitExceeded,
    TaskRevokedError,
    TimeLimitExceeded,
)
from lavoro.execution.executor import Cancelled
from tests.executor.run import ETA, NODE, error_of, finished, given_back

STRICT = NODE._replace(strict_results=True)

# Success


def test_a_value(app: Lavoro) -> None:
    @app.task
    def add(x: int, y: int = 1) -> int:
        return x + y

    outcome = finished(add, 2, kwargs='{"y": 3}')
    assert (outcome.state, outcome.result, outcome.payload, outcome.traceback) == ("SUCCESS", "5", None, None)
    assert outcome.children is None
    assert outcome.runtime is not None
    assert outcome.runtime >= 0


def test_no_value_and_no_arguments(app: Lavoro) -> None:
    @app.task
    def nothing(*args: Any, **kwargs: Any) -> None:
        assert (args, kwargs) == ((), {})

    assert finished(nothing, args=None).result == "null"


def test_a_result_that_is_ignored(app: Lavoro) -> None:
    @app.task(ignore_result=True)
    def ignoring() -> object:
        return object()

    @app.task
    def keeping() -> int:
        return 1

    assert finished(ignoring).result is None
    assert finished(keeping, options='{"ignore_result": true}').result is None
    assert (
        finished(ignoring, node=STRICT, options='{"ignore_result": false}').state == "FAILURE"
    )  # it cannot be encoded


def test_another_serializer(app: Lavoro) -> None:
    @app.task(serializer="pickle", result_serializer="pickle")
    def pair(a: Any, b: Any = None) -> Any:
        return a, b

    call = pickle.dumps(([{1}], {"b": 2}))
    sent = {"args": None, "payload": call, "options": '{"content_type": "application/x-python-serialize"}'}
    outcome = finished(pair, node=NODE._replace(accept=frozenset({"pickle"})), **sent)
    assert outcome.payload is not None
    assert pickle.loads(outcome.payload) == ({1}, 2)
    assert outcome.result == '"application/x-python-serialize"'
    refused = finished(pair, **sent)
    assert refused.state == "FAILURE"
    assert type(error_of(refused)) is SecurityError


def test_children_are_told(app: Lavoro) -> None:
    @app.task(bind=True)
    def parent(self: Any) -> None:
        self.request.children.append(app.AsyncResult("a"))
        self.request.children.append(app.AsyncResult("b"))

    assert finished(parent).children == '["a","b"]'


# Failure


def test_an_exception(app: Lavoro, caplog: pytest.LogCaptureFixture) -> None:
    @app.task
    def fail() -> None:
        raise ValueError("bad", 7)

    outcome = finished(fail)
    assert outcome.state == "FAILURE"
    assert repr(error_of(outcome)) == "ValueError('bad', 7)"
    assert outcome.traceback is not None
    assert outcome.traceback.endswith("ValueError: ('bad', 7)\n")
    [record] = caplog.records
    assert (record.levelname, record.task_id, record.task_name) == ("ERROR", str(outcome.job.id), fail.name)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit(), type("Own", (BaseException,), {})()]
)
def test_what_would_end_a_process_ends_the_task_only(app: Lavoro, error: BaseException) -> None:
    @app.task
    def leave() -> None:
        raise error

    outcome = finished(leave)
    assert (outcome.state, json.loads(outcome.result or "")["exc_type"]) == ("FAILURE", type(error).__qualname__)


def test_expected_errors_are_logged_quietly(app: Lavoro, caplog: pytest.LogCaptureFixture) -> None:
    @app.task(throws=(KeyError,))
    def fail() -> None:
        raise KeyError("x")

    with caplog.at_level(logging.INFO):
        assert finished(fail).state == "FAILURE"
    assert [record.levelname for record in caplog.records] == ["INFO"]


def test_an_exception_that_cannot_be_printed(app: Lavoro) -> None:
    class Awkward(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no words")

        __repr__ = __str__

    @app.task
    def fail() -> None:
        raise Awkward(object())

    outcome = finished(fail)
    assert outcome.state == "FAILURE"
    assert '"exc_type"' in (outcome.result or "")


@pytest.mark.parametrize("text", ["\x00", "\ud800", "ü"])
def test_a_traceback_can_always_be_stored(app: Lavoro, text: str) -> None:
    @app.task
    def fail() -> None:
        raise ValueError(text)

    outcome = finished(fail)
    assert "\x00" not in (outcome.traceback or "")
    assert (outcome.traceback or "").encode()
    assert (outcome.result or "").encode()


@pytest.mark.parametrize("value", [object(), {1: {2, object()}}, (circle := [], circle.append(circle))[0]])
def test_a_result_that_cannot_be_encoded(app: Lavoro, caplog: pytest.LogCaptureFixture, value: Any) -> None:
    @app.task
    def give() -> Any:
        return value

    outcome = finished(give, node=STRICT)
    assert (outcome.state, outcome.traceback) == ("FAILURE", None)
    assert isinstance(error_of(outcome), (TypeError, ValueError))
    assert str(error_of(outcome)).startswith(f"the result of {give.name} cannot be stored: ")
    [record] = caplog.records
    assert (record.levelname, record.exc_info) == ("ERROR", None)
    assert record.getMessage() == f"Task {give.name}[{outcome.job.id}] has failed: {error_of(outcome)}"


def test_a_result_that_cannot_be_encoded_is_no_error_of_the_function(app: Lavoro) -> None:
    """Which it may expect, or be tried again for."""

    @app.task(throws=(TypeError,), autoretry_for=(TypeError, ValueError))
    def give() -> Any:
        return [{"a": {1, object()}}]

    error = error_of(finished(give, node=STRICT))
    assert type(error) is TypeError
    place = "Object of type set is not JSON serializable: at [0]['a']"
    assert str(error).startswith(f"the result of {give.name} cannot be stored: {place}")


def test_a_result_whose_own_words_fail(app: Lavoro) -> None:
    class Own:
        def __json__(self) -> Any:
            raise LookupError("no form")

    @app.task
    def give() -> Any:
        return Own()

    outcome = finished(give, node=STRICT)
    assert (type(error_of(outcome)), outcome.traceback) == (ValueError, None)
    assert str(error_of(outcome)) == f"the result of {give.name} cannot be stored: no form"


@pytest.mark.parametrize("value", [object(), "x" * 100])
def test_null_is_stored_for_a_result_that_cannot_be(app: Lavoro, caplog: pytest.LogCaptureFixture, value: Any) -> None:
    """Nobody has asked for results; the warning comes once for each task."""

    @app.task(name=f"null.{type(value).__name__}")
    def give() -> Any:
        return value

    for _ in range(2):
        outcome = finished(give, node=NODE._replace(max_result_size=50))
        assert (outcome.state, outcome.result, outcome.payload, outcome.traceback) == ("SUCCESS", "null", None, None)
    [record] = caplog.records
    assert (record.levelname, record.exc_info) == ("WARNING", None)
    assert record.getMessage().startswith(f"the result of {give.name} cannot be stored, null is stored instead: ")
    assert record.getMessage().endswith("ignore_result=True; lavoro_strict_results=True lets such tasks fail")


def test_a_result_that_is_too_large(app: Lavoro) -> None:
    @app.task
    def give(size: int) -> str:
        return "x" * size

    small = STRICT._replace(max_result_size=100)
    assert finished(give, 98, node=small).state == "SUCCESS"
    outcome = finished(give, 99, node=small)
    assert outcome.state == "FAILURE"
    assert "the result of" in str(error_of(outcome))
    assert "has 101 bytes, more than 100 (setting lavoro_max_result_size)" in str(error_of(outcome))


@pytest.mark.parametrize("text", ["a\x00b", "a\ud800b"])
def test_a_reason_can_always_be_stored(app: Lavoro, text: str) -> None:
    @app.task
    def end(error: bool) -> None:
        raise Retry(text) if error else Reject(text, requeue=True)

    for error in (True, False):
        reason = given_back(end, error).reason or ""
        assert "\x00" not in reason
        assert reason.encode()


# What cannot begin


@pytest.mark.parametrize(
    "damage",
    [
        {"args": "[1"}, {"args": "{}"}, {"args": "null"}, {"kwargs": "[]"}, {"kwargs": "1"}, {"options": "["},
        {"options": "[]"},
        {"options": '"x"'}, {"args": '[{"__type__": "unheard of", "__value__": 1}]'},
        {"args": None, "payload": b"\xff", "options": '{"content_type": "application/json"}'},
        {"args": None, "payload": b"x", "options": '{"content_type": "unheard/of"}'},
    ],
)  # fmt: skip
def test_a_damaged_row_is_set_aside(app: Lavoro, damage: dict[str, Any]) -> None:
    @app.task
    def run(*args: Any) -> None:
        raise AssertionError("it must not run")

    outcome = finished(run, **damage)
    assert outcome.state == "FAILURE"
    assert isinstance(error_of(outcome), (ValueError, InvalidTaskError, SecurityError))


def test_wrong_arguments_fail(app: Lavoro) -> None:
    @app.task
    def one(x: int) -> None: ...

    assert type(error_of(finished(one, 1, 2))) is TypeError


@pytest.mark.parametrize(
    ("changes", "expired", "reason"),
    [
        ({"expired": True, "expires": ETA}, True, "expired"),
        ({"revoked": True}, False, "revoked"),
        ({"revoked": True, "expired": True, "expires": ETA}, False, "revoked"),
    ],
)
def test_an_expired_or_revoked_task_does_not_run(
    app: Lavoro, heard: list[tuple[str, dict[str, Any]]], changes: dict[str, Any], expired: bool, reason: str
) -> None:
    @app.task
    def run() -> None:
        raise AssertionError("it must not run")

    outcome = finished(run, **changes)
    assert (outcome.state, outcome.runtime) == ("REVOKED", None)
    assert type(error_of(outcome)) is TaskRevokedError
    assert str(error_of(outcome)) == reason
    [(name, named)] = heard
    assert name == "task_revoked"
    assert (named["terminated"], named["signum"], named["expired"]) == (False, None, expired)
    assert named["request"].id == str(outcome.job.id)


# What a task says of itself


def test_a_retry(app: Lavoro) -> None:
    @app.task(bind=True)
    def again(self: Any) -> None:
        raise self.retry(exc=ValueError("not yet"), countdown=2.5)

    outcome = given_back(again, retries=1, attempt=2)
    assert (outcome.state, outcome.retries, outcome.countdown, outcome.eta) == ("RETRY", 2, 2.5, None)
    assert repr(error_of(outcome)) == "ValueError('not yet')"
    assert outcome.reason == "Retry in 2.5s: ValueError('not yet')"
    assert "Retry" in (outcome.traceback or "")
    assert (outcome.args, outcome.kwargs, outcome.queue, outcome.payload) == (None,) * 4
    assert list(json.loads(outcome.options or "{}")) == ["eta"]


def test_a_retry_with_changes(app: Lavoro) -> None:
    @app.task(bind=True)
    def again(self: Any, *args: Any) -> None:
        raise self.retry(args=[7], kwargs={"y": 1}, eta=ETA, queue="slow", headers={"a": 1})

    outcome = given_back(again, 1, options='{"root_id": "r"}')
    assert (outcome.eta, outcome.countdown, outcome.queue) == (ETA, None, "slow")
    assert (json.loads(outcome.args or ""), json.loads(outcome.kwargs or "")) == ([7], {"y": 1})
    assert json.loads(outcome.options or "") == {"root_id": "r", "headers": {"a": 1}, "eta": ETA.isoformat()}


@pytest.mark.parametrize("name", ["a\x00", "a\ud800", "a\nb"])
def test_a_retry_on_what_names_no_queue_is_refused(app: Lavoro, name: str) -> None:
    @app.task(bind=True)
    def again(self: Any) -> None:
        raise self.retry(queue=name)

    assert "cannot name a queue" in str(error_of(finished(again)))


def test_a_retry_that_lets_the_run_go_on(app: Lavoro) -> None:
    ran = []

    @app.task(bind=True)
    def again(self: Any) -> str:
        assert isinstance(self.retry(countdown=1, throw=False), Retry)
        ran.append(True)
        return "never seen"

    assert given_back(again).countdown == 1
    assert ran == [True]


@pytest.mark.parametrize("error", [ValueError("late"), Ignore(), Reject("late")])
def test_a_retry_that_lets_the_run_go_on_holds_however_it_ends(app: Lavoro, error: Exception) -> None:
    @app.task(bind=True)
    def again(self: Any) -> None:
        self.retry(countdown=1, throw=False)
        raise error

    outcome = given_back(again)
    assert (outcome.state, outcome.countdown) == ("RETRY", 1)
    told = error if isinstance(error, ValueError) else Retry(when=1.0)
    assert (type(error_of(outcome)), outcome.reason) == (type(told), "Retry in 1s")


def test_a_retry_with_other_priority_and_expiry(app: Lavoro) -> None:
    @app.task(bind=True)
    def again(self: Any, expires: Any) -> None:
        raise self.retry(priority=7, expires=expires)

    outcome = given_back(again, 60)
    assert (outcome.priority, outcome.expires, outcome.expires_in) == (7, None, 60.0)
    outcome = given_back(again, ETA.isoformat())
    assert (outcome.expires, json.loads(outcome.options or "")["expires"]) == (ETA, ETA.isoformat())
    assert given_back(again, None).expires is None


def test_the_retry_of_another_task_is_an_error(app: Lavoro) -> None:
    """What it says of the next try is not for the task whose run it has reached."""

    @app.task(bind=True, name="inner")
    def inner(self: Any) -> None:
        raise self.retry(args=(1, 2, 3))

    @app.task(name="outer")
    def outer() -> None:
        inner.apply(throw=True)

    assert type(error_of(finished(outer))) is Retry


def test_the_limit_of_a_retry_travels(app: Lavoro) -> None:
    @app.task(bind=True, autoretry_for=(KeyError,))
    def again(self: Any) -> None:
        if self.request.retries:
            raise KeyError("k")
        raise self.retry(max_retries=1)

    options = given_back(again).options
    assert type(error_of(finished(again, retries=1, attempt=2, options=options))) is KeyError


def test_the_exception_itself_may_be_raised(app: Lavoro) -> None:
    @app.task
    def again() -> None:
        raise Retry("later", when=3)

    outcome = given_back(again)
    assert (outcome.countdown, outcome.reason) == (3.0, "later")


def test_after_the_last_retry_the_error_is_raised(app: Lavoro) -> None:
    @app.task(bind=True, max_retries=2)
    def again(self: Any, error: bool) -> None:
        raise self.retry(exc=ValueError("x") if error else None)

    assert given_back(again, True, retries=1).retries == 2
    assert type(error_of(finished(again, True, retries=2))) is ValueError
    assert type(error_of(finished(again, False, retries=2))) is MaxRetriesExceededError


def test_autoretry(app: Lavoro) -> None:
    @app.task(autoretry_for=(OSError,), dont_autoretry_for=(PermissionError,), retry_backoff=3, retry_jitter=False)
    def fetch(kind: str) -> None:
        raise {"os": OSError, "permission": PermissionError, "value": ValueError, "ignore": Ignore}[kind]("x")

    outcome = given_back(fetch, "os", retries=2, attempt=3)
    assert (outcome.countdown, outcome.retries, type(error_of(outcome))) == (12.0, 3, OSError)
    assert type(error_of(finished(fetch, "permission"))) is PermissionError
    assert type(error_of(finished(fetch, "value"))) is ValueError
    assert finished(fetch, "ignore").state == "IGNORED"
    assert type(error_of(finished(fetch, "os", retries=3))) is OSError


def test_ignore(app: Lavoro) -> None:
    @app.task
    def ignore() -> None:
        raise Ignore

    outcome = finished(ignore)
    assert (outcome.state, outcome.result, outcome.traceback) == ("IGNORED", None, None)


def test_reject(app: Lavoro) -> None:
    @app.task
    def reject(requeue: bool) -> None:
        raise Reject("not now", requeue=requeue)

    outcome = finished(reject, False)
    assert (outcome.state, type(error_of(outcome))) == ("FAILURE", Reject)
    back = given_back(reject, True)
    assert (back.state, back.retries, back.reason, back.countdown) == ("REJECTED", None, "rejected: not now", 0.0)


# Limits


class Clock:
    """A pool's way of raising after a time, where the time is up as soon as the task asks."""

    def __init__(self) -> None:
        self.limits: list[tuple[float, BaseException]] = []

    def limit(self, seconds: float, error: BaseException) -> AbstractContextManager[None]:
        @contextlib.contextmanager
        def limited() -> Iterator[None]:
            self.limits.append((seconds, error))
            yield
            self.limits.pop()

        return limited()

    def expire(self, seconds: float) -> None:
        raise next(error for limit, error in self.limits if limit == seconds)


@pytest.mark.parametrize("options", [None, '{"soft_time_limit": 5.0}'])
def test_a_soft_limit(app: Lavoro, options: str | None) -> None:
    clock = Clock()

    @app.task(soft_time_limit=None if options else 5.0)
    def slow(catch: bool) -> str:
        try:
            clock.expire(5.0)
        except SoftTimeLimitExceeded:
            if not catch:
                raise
        return "cleaned up"

    node = NODE._replace(limit=clock.limit)
    outcome = finished(slow, False, node=node, options=options)
    assert type(error_of(outcome)) is SoftTimeLimitExceeded
    assert str(error_of(outcome)) == "soft time limit of 5 s"
    assert finished(slow, True, node=node, options=options).result == '"cleaned up"'


def test_a_hard_limit_is_no_exception_that_a_task_may_swallow(app: Lavoro) -> None:
    clock = Clock()

    @app.task(time_limit=9.0, soft_time_limit=5.0)
    def slow() -> None:
        assert [limit for limit, _ in clock.limits] == [9.0, 5.0]
        with contextlib.suppress(Exception):
            clock.expire(9.0)

    outcome = finished(slow, node=NODE._replace(limit=clock.limit, limits_hard=True))
    assert type(error_of(outcome)) is TimeLimitExceeded
    assert str(error_of(outcome)) == "hard time limit of 9 s"


def test_where_the_pool_has_no_hard_limits_the_supervisor_has(app: Lavoro) -> None:
    clock = Clock()

    @app.task(time_limit=9.0)
    def slow() -> int:
        return len(clock.limits)

    assert finished(slow, node=NODE._replace(limit=clock.limit)).result == "0"


@pytest.mark.parametrize(("name", "signum"), [(None, 15), ("SIGKILL", 9), ("term", 15), (2, 2), ("nonsense", 15)])
def test_a_cancelled_task(app: Lavoro, heard: list[tuple[str, dict[str, Any]]], name: Any, signum: int) -> None:
    @app.task
    def long() -> None:
        with contextlib.suppress(Exception):
            raise Cancelled(*[name] if name else [])

    outcome = finished(long)
    assert (outcome.state, type(error_of(outcome))) == ("REVOKED", TaskRevokedError)
    named = dict(heard)["task_revoked"]
    assert (named["terminated"], named["signum"], named["expired"]) == (True, signum, False)
