"""Whatever a task raises or says has a size that can be stored, and is cut in a time that nobody notices."""

from __future__ import annotations

import builtins
import json
import logging
import time
from typing import Any

import pytest

from lavoro import Lavoro
from lavoro.exceptions import Reject, Retry
from lavoro.execution.executor import execute
from lavoro.protocol.outcome import Finished, Requeued, weight
from tests.executor.run import NODE, error_of, finished, given_back, job_of

LARGE = 30_000_000


class Rude(Exception):
    """An exception whose methods do what they should not."""

    def __init__(self, what: Any) -> None:
        super().__init__(object())
        self.what = what

    args = property(lambda self: 1 / 0)  # type: ignore[assignment]

    def __str__(self) -> str:
        if isinstance(self.what, BaseException):
            raise self.what
        return repr(self) if self.what == "deep" else self.what  # type: ignore[no-any-return]

    __repr__ = __str__


def _group() -> Any:
    group: Any = getattr(builtins, "ExceptionGroup", ValueError)  # Python 3.10 has none
    return group("g" * 1_000_000, [ValueError("x" * 1000)] * 10_000)


def _chain() -> BaseException:
    error: BaseException = ValueError(0)
    for number in range(5000):
        following = ValueError(number)
        following.__cause__ = error
        error = following
    return error


ERRORS: dict[str, BaseException] = {
    "text": ValueError("x" * LARGE), "bytes": ValueError(b"\xff" * LARGE), "list": ValueError(list(range(1_000_000))),
    "nested": ValueError([["x" * 1000] * 1000] * 1000), "arguments": ValueError(*["x" * 1000] * 100_000),
    "objects": ValueError([object()] * 1_000_000), "dictionary": KeyError({"k": "x" * LARGE}),
    "chain": _chain(), "group": _group(), "kind": type("N" * 1_000_000, (Exception,), {})("x"),
    "str raises": Rude(RuntimeError()), "str exits": Rude(SystemExit(1)), "str is no text": Rude(7),
    "str is deep": Rude("deep"), "long str": Rude("x" * LARGE),
}  # fmt: skip


@pytest.fixture
def fail(app: Lavoro) -> Any:
    """A task that raises what it is told to."""

    @app.task(bind=True, name="fail")
    def fail(self: Any, name: str, how: str) -> None:
        error = ERRORS[name]
        if how == "raise":
            raise error
        if how == "retry":
            raise self.retry(exc=error)
        raise Retry(str(name) * LARGE) if how == "say retry" else Reject(error, requeue=how == "requeue")

    return fail


@pytest.mark.parametrize("how", ["raise", "retry", "reject", "requeue"])
@pytest.mark.parametrize("name", list(ERRORS))
def test_no_error_is_too_large(fail: Any, caplog: pytest.LogCaptureFixture, name: str, how: str) -> None:
    job, began = job_of(fail, name, how), time.process_time()
    with caplog.at_level(logging.INFO):
        outcome = execute(fail, job, NODE)
    assert time.process_time() - began < 2
    assert outcome.state in ("FAILURE", "RETRY", "REJECTED")
    assert weight(outcome) < 400_000
    for record in caplog.records:
        assert len(record.getMessage()) < 25_000
        assert record.exc_text is None or len(record.exc_text) < 110_000
    text = outcome.result if isinstance(outcome, Finished) else outcome.error or outcome.reason
    assert text is not None


def test_what_is_cut_says_so(app: Lavoro) -> None:
    @app.task
    def fail() -> None:
        raise ValueError("x" * LARGE)

    outcome = finished(fail, node=NODE._replace(max_error_size=3000))
    assert str(error_of(outcome)) == "x" * 3000 + f"... (cut: {LARGE - 3000} more characters)"
    assert (outcome.traceback or "").startswith("Traceback (most recent call last):")
    assert (outcome.traceback or "").endswith(f"xxx... (cut: {LARGE - 600} more characters)\n")


def test_of_arguments_the_first_are_kept(fail: Any) -> None:
    outcome = finished(fail, "arguments", "raise", node=NODE._replace(max_error_size=2500))
    kept = json.loads(outcome.result or "")["exc_message"]
    assert kept[:2] == ["x" * 1000] * 2
    assert kept[2:] == ["x" * 500 + "... (cut: 500 more characters)", "... (cut: 99997 more arguments)"]


@pytest.mark.parametrize("how", ["retry", "requeue", "say retry"])
def test_a_reason_is_cut(fail: Any, how: str) -> None:
    reason = given_back(fail, "text", how).reason or ""
    assert len(reason) < 1100
    assert "(cut: " in reason


def test_a_result_is_described_only_as_far_as_it_is_shown(app: Lavoro, caplog: pytest.LogCaptureFixture) -> None:
    @app.task
    def give() -> Any:
        return [list(range(100))] * 1000

    with caplog.at_level(logging.INFO):
        finished(give)
    message = caplog.records[-1].getMessage()
    assert "[[0, 1, 2, " in message
    assert "(cut: " in message
    assert len(message) < 1200


def test_the_weight_of_an_outcome_is_what_is_stored(fail: Any) -> None:
    job = job_of(fail)
    assert weight(Finished(job, "SUCCESS", "ab", b"cde", "f", 1.0, "gh")) == 8
    assert weight(Finished(job, "SUCCESS")) == 0
    assert weight(Requeued(job, args="abc", payload=b"de", traceback="f")) == 6
