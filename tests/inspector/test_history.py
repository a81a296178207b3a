"""The history as the inspector returns it: by minute, hour and day, over all tasks or by queue or name."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from lavoro.exceptions import InspectorError
from lavoro.inspector import HistoryPoint, Inspector
from lavoro.store import history
from lavoro.store.tx import Tx
from tests.store.walk import value

MINUTE = dt.timedelta(minutes=1)
FILL = """
    insert into lavoro.finished
        (id, state, queue, priority, attempt, retries, crashes, runtime, due_at, created_at, started_at, name,
        finished_at)
    select gen_random_uuid(), case when i %% 3 = 0 then 'FAILURE' else 'SUCCESS' end, 'q' || i %% 2, 0, 1, 1, 0, 0.5,
        at - interval '2 s', at, at, 'shop.n' || i %% 4, at
    from generate_series(0, 11) i cross join lateral (select %s::timestamptz - i / 4 * interval '1 hour') t (at)"""


@pytest.fixture
def last(tx: Tx) -> dt.datetime:
    """The last minute that is over: four tasks ended in it, four an hour before, and four an hour before that."""
    now = value(tx, "select date_bin('1 minute', clock_timestamp(), '2000-01-01 00:00+00')")
    assert isinstance(now, dt.datetime)
    tx.connection.execute(FILL, (now - MINUTE,))
    tx.connection.execute("update lavoro.history_mark set until = %s", (now - dt.timedelta(hours=4),))
    history.count(tx, minutes=240)
    return now - MINUTE


def busy(points: tuple[HistoryPoint, ...]) -> dict[dt.datetime, int]:
    return {point.at: point.finished for point in points if point.finished}


def test_each_period_has_a_point(inspector: Inspector, last: dt.datetime) -> None:
    points = inspector.history("minute", since=last - 10 * MINUTE)
    assert [point.at for point in points[:11]] == [last - number * MINUTE for number in range(10, -1, -1)]
    assert busy(points) == {last: 4}
    point = points[10]
    assert (point.group, point.states, point.finished, point.failed) == (None, {"FAILURE": 2, "SUCCESS": 2}, 4, 2)
    assert (point.retries, point.crashes, point.runtime, point.waited, point.longest) == (4, 0, 2.0, 8.0, 0.5)


def test_hours_and_days(inspector: Inspector, last: dt.datetime) -> None:
    assert list(busy(inspector.history()).values()) == [4, 4, 4]
    days = inspector.history("day")
    assert 30 <= len(days) <= 31
    assert sum(busy(days).values()) == 12
    assert {at.astimezone(dt.timezone.utc).time() for at in busy(days)} == {dt.time()}


def test_groups_and_conditions(inspector: Inspector, last: dt.datetime) -> None:
    def found(**given: Any) -> dict[str | None, int]:
        points = inspector.history("minute", since=last, **given)
        return {point.group: point.finished for point in points if point.finished}

    assert found(by="queue") == {"q0": 2, "q1": 2}
    assert found(by="name") == {"shop.n0": 1, "shop.n1": 1, "shop.n2": 1, "shop.n3": 1}
    assert found(queue="q0") == {None: 2}
    assert found(queue=["q0", "q1"], state="FAILURE", by="queue") == {"q0": 1, "q1": 1}
    assert found(name="shop.n1") == {None: 1}
    assert found(name="*.n?") == {None: 4}
    assert found(name="other") == {}
    assert busy(inspector.history("minute", since=dt.timedelta(hours=2), until=last)) == {
        last - dt.timedelta(hours=1): 4,
    }  # fmt: skip


def test_no_more_is_asked_for_than_is_kept(inspector: Inspector, last: dt.datetime) -> None:
    assert len(inspector.history("minute", since=dt.timedelta(days=900))) in (2879, 2880, 2881)


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"period": "week"}, "period is one of minute, hour, day, not 'week'"),
    ({"by": "state"}, "by is queue or name, or left out, not 'state'"),
    ({"since": dt.timedelta(hours=1), "until": dt.timedelta(hours=2)}, "is not before until="),
    ({"since": dt.datetime(2026, 1, 1)}, "since is a time with a zone"),
    ({"name": 7}, "name is the name of a task"),
]


@pytest.mark.parametrize(("given", "text"), WRONG)
def test_wrong_questions(inspector: Inspector, given: dict[str, Any], text: str) -> None:
    with pytest.raises(InspectorError, match=text):
        inspector.history(**given)
