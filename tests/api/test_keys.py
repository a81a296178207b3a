"""Limits and unique tasks, from the decorator to a worker."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
import sqlalchemy as sa

from lavoro import Lavoro, Limit, Rate, Unique, chain, chord, group
from lavoro.exceptions import ImproperlyConfigured, NotUnique, ScheduleError
from lavoro.testing import worker
from tests.api.conftest import Rows

PATIENCE = 30.0


def test_one_at_a_time_per_key(app: Lavoro) -> None:
    now: dict[str, int] = {}
    most: dict[str, int] = {}
    lock = threading.Lock()

    @app.task(limits=[Limit("tenant:{tenant}", running=1)])
    def work(tenant: str, number: int) -> int:
        with lock:
            now[tenant] = now.get(tenant, 0) + 1
            most[tenant] = max(most.get(tenant, 0), now[tenant])
        time.sleep(0.002)
        with lock:
            now[tenant] -= 1
        return number

    results = [work.delay(tenant, number) for number in range(20) for tenant in "abc"]
    with worker(app, pool="threads", concurrency=8):
        assert sum(result.get(timeout=PATIENCE) for result in results) == 3 * sum(range(20))
    assert most == {"a": 1, "b": 1, "c": 1}


def test_a_rate_spreads_starts(app: Lavoro, rows: Rows) -> None:
    @app.task(limits=Rate("mail", 20, per=1, burst=2))
    def mail() -> None: ...

    results = mail.delay_many([()] * 12)
    with worker(app, pool="threads", concurrency=8):
        for result in results:
            result.get(timeout=PATIENCE)
    started = [row["started_at"].timestamp() for row in rows("select started_at from lavoro.finished order by 1")]
    # In each 0.25 s: 5 of the rate, and a burst of 2. A row is written a moment after its start is counted.
    assert all(later - first > 0.23 for first, later in zip(started, started[7:], strict=False))
    assert 0.45 <= started[-1] - started[0] < 5
    assert {row["attempt"] for row in rows("select attempt from lavoro.finished")} == {1}


def test_a_unique_call_gets_the_first_result(app: Lavoro) -> None:
    @app.task(unique=True)
    def export(year: int, month: int = 1) -> int:
        return year

    first = export.delay(2026)
    again = export.apply_async((), {"month": 1, "year": 2026})
    other = export.delay(2026, 2)
    assert (first.created, again.created, other.created) == (True, False, True)
    assert again.id == first.id != other.id
    with worker(app, pool="threads"):
        assert again.get(timeout=PATIENCE) == 2026
    assert export.delay(2026).created


def test_many_calls_map_to_those_that_exist(app: Lavoro, rows: Rows) -> None:
    @app.task(unique="{name}")
    def greet(name: str) -> None: ...

    first = greet.delay("ada")
    results = greet.delay_many([("ada",), ("bob",), ("bob",), ("cy",)])
    assert [result.created for result in results] == [False, True, False, True]
    assert results[0].id == first.id
    assert results[2].id == results[1].id
    assert len(rows()) == 3


def test_a_call_may_ask_for_an_error(app: Lavoro) -> None:
    @app.task
    def pay(invoice: int) -> None: ...

    unique = Unique("invoice:{invoice}", on_conflict="error", scope="all")
    pay.apply_async((7,), unique=unique)
    with pytest.raises(NotUnique, match="holds its unique key 'all:invoice:7'"):
        pay.apply_async((7,), unique=unique)
    pay.apply_async((8,), unique=unique)


def test_a_transaction_that_is_rolled_back_holds_no_key(app: Lavoro, migrated_url: str) -> None:
    @app.task(unique=True)
    def once() -> None: ...

    engine = sa.create_engine(migrated_url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.connect() as connection, app.transaction(connection):
        assert once.delay().created
        assert not once.delay().created
        connection.rollback()
    engine.dispose()
    assert once.delay().created


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"limits": Limit("t:{tenant}", running=1)}, "names the argument 'tenant', which this call does not have"),
        ({"limits": Limit("t:{name._x}", running=1)}, "must name an argument, or a public attribute"),
        ({"limits": Limit("{name}", running=1)}, "a key has 1 to 500 characters"),
        ({"serial": "{name"}, "cannot be read"),
        ({"limits": 3}, "limits must be a Limit or a Rate"),
        ({"unique": 3}, "unique must be True, False, a key or Unique"),
    ],
)
def test_a_key_that_cannot_be_made_is_refused(app: Lavoro, rows: Rows, options: dict[str, Any], words: str) -> None:
    @app.task
    def greet(name: str) -> None: ...

    with pytest.raises(ValueError, match=words):
        greet.apply_async(("x" * 501,), **options)
    assert rows() == []


def test_the_decorator_refuses_what_is_no_limit(app: Lavoro) -> None:
    with pytest.raises(ImproperlyConfigured, match="limits must be a Limit or a Rate"):
        app.task(limits=["tenant"])(lambda: None)


@pytest.mark.parametrize("made", [
    lambda: Limit("a", running=-1), lambda: Limit("a", running=True), lambda: Rate("a", 1, per=0),
    lambda: Rate("a", 1, burst=0), lambda: Unique(until="never"), lambda: Unique(seconds=0),
    lambda: Unique(scope="world"), lambda: Unique(on_conflict="shrug"),
])  # fmt: skip
def test_values_are_checked(made: Any) -> None:
    with pytest.raises(ValueError, match="must be"):
        made()


def test_a_unique_task_is_no_part_of_a_canvas(app: Lavoro, rows: Rows) -> None:
    @app.task(unique=True)
    def once(value: int = 0) -> int:
        return value

    @app.task
    def again(value: int = 0) -> int:
        return value

    for canvas in (chain(once.s(1), again.s()), group(again.s(1), once.s(2)), chord([again.s(1)], once.si())):
        with pytest.raises(ValueError, match="once is unique, and cannot be part of a chain, group or chord"):
            canvas.apply_async()
    assert rows() == []
    result = (again.s(1) | once.s()).apply_async()
    with worker(app, pool="threads"):
        assert result.parent is not None
        with pytest.raises(Exception, match="is unique, and cannot be part of a chain"):
            result.parent.get(timeout=PATIENCE)


def test_a_schedule_skips_a_tick_whose_task_exists(app: Lavoro) -> None:
    @app.task(name="shop.report", unique=True)
    def report() -> None: ...

    first = report.delay()
    app.schedules.create("nightly", "@daily", report)
    with pytest.raises(ScheduleError, match=f"the task {first.id} holds its key"):
        app.schedules.run("nightly")


def test_limits_hold_for_every_way_in(app: Lavoro, rows: Rows) -> None:
    """In single and many calls, chains, groups, chords, retries and schedules."""
    now, most, lock = 0, 0, threading.Lock()

    @app.task(bind=True, serial="shop", default_retry_delay=0)
    def work(self: Any, value: Any = 0) -> int:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.002)
        with lock:
            now -= 1
        if value == "again" and not self.request.retries:
            raise self.retry(countdown=0)
        return 1

    app.schedules.create("often", "@daily", work)
    results = [
        work.delay(), *work.delay_many([()] * 5), chain(work.s(), work.s(), work.s()).apply_async(),
        group(work.s() for _ in range(4)).apply_async(), chord([work.s() for _ in range(4)], work.s()).apply_async(),
        work.delay("again"), app.schedules.run("often"),
    ]  # fmt: skip
    with worker(app, pool="threads", concurrency=8):
        for result in results:
            result.get(timeout=PATIENCE)
    assert most == 1
    assert rows("select taken, holds from lavoro.limit_state") == [{"taken": 0, "holds": False}]


def test_a_rate_and_a_limit_of_one_key_hold_both(app: Lavoro, rows: Rows) -> None:
    @app.task(limits=[Rate("crm:{account}", 100, per=60, burst=20), Limit("crm:{account}", running=3)])
    def update(account: str) -> None: ...

    update.delay("a")
    [row] = rows()
    assert row["keys"] == {"limits": {"crm:a": {"rate": 100, "per": 60.0, "burst": 20, "running": 3}}}
