"""The loop: it steps when it should, survives what its steps raise, and ends when it is told to."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from lavoro.exceptions import OperationalError
from lavoro.runtime.service import Service


@pytest.fixture(autouse=True)
def logging_works(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another test may have run a tool in this process that disables the loggers it finds."""
    monkeypatch.setattr(logging.getLogger("lavoro.worker"), "disabled", False)


class Steps(Service):
    """Does as it is told, step by step."""

    name = "steps"

    def __init__(self, *answers: float | Exception | None, then: float | None = None) -> None:
        super().__init__()
        self.answers, self.then = list(answers), then
        self.count = 0
        self.inside, self.go_on = threading.Event(), threading.Event()
        self.go_on.set()
        self.closed = 0
        self.threads: set[str] = set()

    def step(self) -> float | None:
        self.count += 1
        self.threads.add(threading.current_thread().name)
        self.inside.set()
        assert self.go_on.wait(60)
        answer = self.answers.pop(0) if self.answers else self.then
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def started() -> Iterator[Callable[[Steps], Steps]]:
    services: list[Steps] = []

    def start(service: Steps) -> Steps:
        services.append(service)
        service.start()
        return service

    yield start
    for service in services:
        service.go_on.set()
        service.stop(60)
        assert not service.alive
        assert service.closed == 1


Start = Callable[[Steps], Steps]
Eventually = Callable[..., object]


def test_it_waits_until_it_is_woken(started: Start, eventually: Eventually) -> None:
    service = started(Steps())
    for count in (1, 2, 3):
        eventually(lambda count=count: service.count == count)
        service.wake()
    eventually(lambda: service.count == 4)
    assert service.alive
    assert service.threads == {"lavoro-steps"}


def test_zero_means_at_once(started: Start, eventually: Eventually) -> None:
    service = started(Steps(0, 0, 0))
    eventually(lambda: service.count == 4)


def test_seconds_are_waited(started: Start, eventually: Eventually) -> None:
    service = started(Steps(0.001, 0.001, 3600.0))
    eventually(lambda: service.count == 3)


def test_a_wake_up_during_a_step_leads_to_another(started: Start, eventually: Eventually) -> None:
    service = Steps()
    service.go_on.clear()
    started(service)
    assert service.inside.wait(60)
    service.wake()
    service.go_on.set()
    eventually(lambda: service.count == 2)


def test_an_error_is_survived_and_logged_with_its_traceback_once(
    started: Start, eventually: Eventually, caplog: pytest.LogCaptureFixture
) -> None:
    service = Steps(ZeroDivisionError("one"), ZeroDivisionError("two"), 0, ZeroDivisionError("three"))
    service.max_backoff = 0.001
    started(service)
    eventually(lambda: service.count == 5 and len(caplog.records) >= 5)
    records = [record for record in caplog.records if record.name == "lavoro.worker"]
    assert [(record.message, bool(record.exc_info), record.levelname) for record in records] == [
        ("steps failed, trying again: one", True, "ERROR"),
        ("steps failed, trying again: two", False, "ERROR"),
        ("steps recovered", False, "WARNING"),
        ("steps failed, trying again: three", True, "ERROR"),
        ("steps recovered", False, "WARNING"),
    ]


def test_an_error_of_ours_speaks_for_itself(
    started: Start, eventually: Eventually, caplog: pytest.LogCaptureFixture
) -> None:
    """It is told once, without a traceback, and once that it is over, however long it took."""
    service = Steps(*[OperationalError("the database is away\nDETAIL: for ever")] * 5)
    service.max_backoff = 0.001
    started(service)
    eventually(lambda: service.count == 6)
    eventually(lambda: len(caplog.records) >= 2)
    assert [record.message for record in caplog.records] == [
        "steps failed, trying again: the database is away",
        "steps recovered",
    ]
    assert not caplog.records[0].exc_info


def test_waits_after_errors_grow_up_to_the_maximum() -> None:
    service = Steps(*(ZeroDivisionError() for _ in range(6)))
    delays = [service.try_step() for _ in range(6)]
    for delay, most in zip(delays, (0.2, 0.4, 0.8, 1.6, 3, 3), strict=True):
        assert delay is not None
        assert most / 2 <= delay <= most
    assert service.try_step() is None
    service.answers = [ZeroDivisionError()]
    assert (service.try_step() or 9) <= 0.2


def test_a_database_that_is_away_for_days_does_not_end_the_loop() -> None:
    service = Steps(ZeroDivisionError())
    service.failures = 100_000
    assert (service.try_step() or 0) >= 1.5


def test_a_wake_up_ends_the_wait_after_an_error(started: Start, eventually: Eventually) -> None:
    service = Steps(ZeroDivisionError())
    service.max_backoff = 3600.0
    service.failures = 20
    started(service)
    eventually(lambda: service.count == 1)
    service.wake()
    eventually(lambda: service.count == 2)


def test_it_is_known_since_when_a_step_hangs(started: Start, eventually: Eventually) -> None:
    """A loop that waits for long does not hang."""
    service = started(Steps(then=3600.0))
    eventually(lambda: service.due > time.monotonic() + 3000)
    service.go_on.clear()
    service.wake()
    eventually(lambda: service.count == 2)
    assert service.due <= time.monotonic()


def test_stopping_before_it_started() -> None:
    service = Steps()
    service.stop(1)
    assert not service.alive
    service.start()
    service.join(60)
    assert (service.count, service.closed) == (0, 1)


def test_stopping_waits_only_so_long(started: Start) -> None:
    service = Steps()
    service.go_on.clear()
    started(service)
    assert service.inside.wait(60)
    service.stop(0.001)
    assert service.alive
    service.go_on.set()
    service.join(60)
    assert service.count == 1


def test_a_loop_may_stop_itself(eventually: Eventually) -> None:
    class Once(Steps):
        def step(self) -> float | None:
            self.stop()
            return super().step()

    service = Once()
    service.start()
    eventually(lambda: not service.alive)
    assert (service.count, service.closed) == (1, 1)
