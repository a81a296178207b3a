"""The server's clock is set while workers run: nothing waits because of it, and nothing runs twice at a time."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lavoro import Lavoro
from lavoro.worker.supervisor.server_clock import ServerClock
from tests.clock import make_settable, set_ahead
from tests.conftest import Eventually
from tests.worker.conftest import PATIENCE, Ledger, StartWorker, rows, sending_to

HOUR = 3600.0
NOON = dt.datetime(2030, 1, 1, 12, tzinfo=dt.timezone.utc)
ENVIRONMENT = {"TEST_LEASE": "4"}
RENEWED = "select 1 from lavoro.worker where stopped_at is null and expires_at > fake.clock_timestamp()"


@pytest.fixture
def url(database_url: str) -> str:
    make_settable(database_url)
    return database_url


@pytest.fixture
def app(url: str) -> Iterator[Lavoro]:
    with sending_to(url) as app:
        yield app


def test_what_was_due_is_due_after_the_clock_was_set_back(
    start_worker: StartWorker, url: str, app: Lavoro, ledger: Ledger, eventually: Eventually, tmp_path: Path
) -> None:
    """What waits, and what was claimed ahead and goes back later; a countdown begins anew."""
    set_ahead(url, HOUR)
    worker = start_worker("-P", "threads", "-c", "1", url=url, environment=ENVIRONMENT)
    held = app.send_task("hold", [str(tmp_path / "gate")])
    eventually(lambda: ledger.starts(held.id), timeout=PATIENCE, why="it runs")
    waiting = [app.send_task("add", [number, 0]) for number in range(5)]
    later = app.send_task("add", [1, 1], countdown=HOUR / 2)
    set_ahead(url, 0.0)
    worker.until("the clock of the database was set back by 3600")
    worker.until("5 tasks that were due at once lay up to 3")
    (tmp_path / "gate").touch()
    assert [result.get(timeout=PATIENCE) for result in waiting] == [0, 1, 2, 3, 4]
    order = rows(app, "select args->>0 from lavoro.finished where name = 'add' order by started_at")
    assert order == [("0",), ("1",), ("2",), ("3",), ("4",)]
    assert later.state == "PENDING"
    assert worker.stop() == 0


def test_a_worker_that_begins_later_sees_it_too(start_worker: StartWorker, url: str, app: Lavoro) -> None:
    set_ahead(url, HOUR)
    result = app.send_task("add", [1, 2])
    set_ahead(url, 0.0)
    worker = start_worker("-c", "1", url=url, environment=ENVIRONMENT)
    assert result.get(timeout=PATIENCE) == 3
    assert "1 task that was due at once" in worker.log


def test_nobody_is_taken_for_dead_because_the_clock_was_set_ahead(
    start_worker: StartWorker, url: str, app: Lavoro, ledger: Ledger, eventually: Eventually, tmp_path: Path
) -> None:
    nodes = [start_worker("-n", name, "-c", "2", url=url, environment=ENVIRONMENT) for name in ("a", "b")]
    held = [app.send_task("hold", [str(tmp_path / "gate")]) for _ in range(4)]
    eventually(lambda: all(ledger.starts(task.id) for task in held), timeout=PATIENCE, why="they run")
    set_ahead(url, 6.0)
    for worker in nodes:
        worker.until("the clock of the database was set ahead by 6.0 s")
    eventually(lambda: len(rows(app, RENEWED)) == 2, timeout=PATIENCE, why="both have renewed")
    (tmp_path / "gate").touch()
    assert [task.get(timeout=PATIENCE) for task in held] == ["held"] * 4
    assert [ledger.starts(task.id) for task in held] == [1] * 4
    assert rows(app, "select count(*) from lavoro.worker where stopped_at is not null") == [(0,)]
    assert [worker.stop() for worker in nodes] == [0, 0]


@pytest.mark.parametrize("ahead", [pytest.param(-HOUR, marks=pytest.mark.slow), HOUR], ids=["set back", "set ahead"])
def test_a_dead_node_is_missed_whatever_the_clock_shows(
    start_worker: StartWorker, url: str, app: Lavoro, ledger: Ledger, eventually: Eventually, tmp_path: Path,
    ahead: float,
) -> None:  # fmt: skip
    doomed = start_worker("-n", "doomed", "-c", "1", url=url, environment=ENVIRONMENT)
    task = app.send_task("hold", [str(tmp_path / "gate")])
    eventually(lambda: ledger.starts(task.id), timeout=PATIENCE, why="it runs")
    start_worker("-n", "heir", "-c", "1", url=url, environment=ENVIRONMENT)
    doomed.destroy()
    set_ahead(url, ahead)
    (tmp_path / "gate").touch()
    assert task.get(timeout=PATIENCE) == "held"
    assert ledger.starts(task.id) == 2


# Readings


def reading(clock: ServerClock, theirs: float, ours: float, *, took: float = 0.0) -> float:
    return clock.read(NOON + dt.timedelta(seconds=theirs), sent=ours, answered=ours + took)


def test_a_clock_that_runs_on_was_not_set() -> None:
    clock = ServerClock(lease=30)
    assert [reading(clock, seconds + 0.01 * seconds / 90, seconds) for seconds in (0, 90, 180)] == [0, 0, 0]
    assert clock.true_since == NOON


@pytest.mark.parametrize("step", [HOUR, 2.0, -2.0, -HOUR])
def test_a_clock_that_was_set(step: float) -> None:
    clock = ServerClock(lease=30)
    reading(clock, 0, 0)
    assert reading(clock, 10 + step, 10) == pytest.approx(step)
    assert clock.true_since == NOON + dt.timedelta(seconds=10 + step)
    assert reading(clock, 20 + step, 20) == 0


def test_an_answer_that_took_long_is_no_step() -> None:
    """The server read its clock at some time between question and answer."""
    clock = ServerClock(lease=30)
    assert [reading(clock, 5, 0, took=5), reading(clock, 10, 10, took=5)] == [0, 0]
    assert [reading(clock, 20, 20), reading(clock, 28, 25, took=3)] == [0, 0]


def test_what_cannot_be_known() -> None:
    clock = ServerClock(lease=30)
    assert (clock.true_since, clock.latest) == (None, None)
    reading(clock, 0, time.monotonic())
    assert clock.latest is not None
    assert NOON < clock.latest < NOON + dt.timedelta(seconds=10)


@pytest.mark.parametrize("step", [0.0, HOUR, -HOUR])
def test_a_clock_that_was_set_during_an_outage(step: float) -> None:
    """As by a failover to another server: an outage alone says nothing of the clock."""
    clock = ServerClock(lease=30)
    reading(clock, 0, 0)
    back = NOON + dt.timedelta(seconds=60 + step)
    assert clock.read(back, sent=60, answered=60, outage=True) == pytest.approx(step)
    assert (clock.true_since, clock.answers_since) == (back if step else NOON, back)
