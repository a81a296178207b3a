"""Counts, queues, workers and failures: exact as long as tables are small, and fast when they are large."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from lavoro import Lavoro
from lavoro.exceptions import InspectorError
from lavoro.inspector import Count, Ended, Inspector
from lavoro.protocol import outcome
from lavoro.store import census, failures, history, queues, tasks
from lavoro.store.tx import Tx
from tests.inspector.walking import ERROR, chord, failed
from tests.store.walk import lane, registered, send, sent_and_taken, succeeded, take, value

HOUR = dt.timedelta(hours=1)


def test_counts(tx: Tx, inspector: Inspector) -> None:
    failed(tx, queue="mail", name="shop.mail")
    done = sent_and_taken(tx)
    tasks.finish(tx, 1, [succeeded(done)])
    again = sent_and_taken(tx)
    tasks.requeue(tx, 1, [outcome.retrying(again, countdown=3600.0)])
    sent_and_taken(tx, queue="mail")
    send(tx)
    chord(tx, queue="other")
    one, two, three = Count(1), Count(2), Count(3)
    assert inspector.counts() == {"finished": two, "waiting": two, "held": one, "running": one, "scheduled": one}
    assert inspector.counts("queue") == {"celery": Count(4), "mail": two, "other": one}
    assert list(inspector.counts("queue")) == ["celery", "mail", "other"]
    assert inspector.counts("state") == {"PENDING": three, "FAILURE": one, "RETRY": one, "STARTED": one, "SUCCESS": one}
    assert inspector.counts("name") == {"test.add": Count(5), "shop.mail": one, "test.body": one}
    with pytest.raises(InspectorError, match="by is one of queue, name, state, stage, not 'colour'"):
        inspector.counts("colour")


WAITING = """
    insert into lavoro.waiting (id, queue, priority, name, due_at)
    select gen_random_uuid(), case when i %% 10 = 0 then 'later' else 'large' end, i %% 2, 'n',
        now() + case when i %% 10 = 0 then interval '1 day' else i * interval '-1 second' end
    from generate_series(1, %s) i"""
FINISHED = """
    insert into lavoro.finished
        (id, state, queue, priority, attempt, retries, crashes, due_at, created_at, name, finished_at, result)
    select gen_random_uuid(), case when i %% 10 = 0 then 'FAILURE' else 'SUCCESS' end, 'q' || i %% 4, 0, 1, 0, 0, now(),
        now(), 'n', now() - i * interval '10 ms',
        case when i %% 10 = 0 then '{"exc_type":"E' || i / 10 %% 2 || '","exc_message":["no"]}' end::json
    from generate_series(1, %s) i"""


@pytest.fixture
def large(tx: Tx, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables of which a count reads a part."""
    monkeypatch.setattr(census, "PAGES", 300)
    tx.connection.execute(WAITING, (60_000,))
    tx.connection.execute(FINISHED, (60_000,))


@pytest.mark.usefixtures("large")
def test_numbers_of_large_tables_are_estimated_and_say_so(inspector: Inspector) -> None:
    found = inspector.counts("queue")
    for name, expected in (("large", 54_000), ("q1", 15_000), ("later", 6000)):
        assert found[name].value == pytest.approx(expected, rel=0.4)
        assert found[name].how == "estimated"
    assert str(found["q1"]) == f"about {found['q1'].value:,}"
    stages = inspector.counts()
    assert stages["finished"].value == pytest.approx(60_000, rel=0.4)
    whole = inspector.where(queue="q1").count()
    assert (whole.how, whole.value) == ("estimated", pytest.approx(15_000, rel=0.4))
    errors = inspector.where(error="E1").count()  # of the failures alone, which are few
    assert errors == Count(3000)


@pytest.mark.usefixtures("large")
def test_a_sample_without_matches_is_no_zero(tx: Tx, inspector: Inspector) -> None:
    send(tx, queue="rare")
    found = inspector.where(queue="rare").count()
    assert found.how == "at_least"
    assert found.value <= 1
    assert str(found) == f"at least {found.value}"


@pytest.mark.usefixtures("large")
def test_queues_while_many_tasks_wait(tx: Tx, inspector: Inspector) -> None:
    """Short queues are counted one by one; that of a long one is estimated; and the oldest task is always found."""
    for _ in range(3):
        send(tx, queue="short")
    send(tx, queue="short", priority=5, countdown=3600.0)
    found = {queue.name: queue for queue in inspector.queues()}
    assert (found["short"].waiting, found["short"].scheduled) == (Count(3), Count(1))
    large, later = found["large"], found["later"]
    assert (large.waiting.how, large.scheduled) == ("estimated", Count(0))
    assert large.waiting.value == pytest.approx(54_000, rel=0.4)
    assert large.latency == pytest.approx(60_000, abs=600)
    assert (later.waiting, later.scheduled.how, later.latency) == (Count(0), "estimated", None)
    assert later.scheduled.value == pytest.approx(6000, rel=0.4)


def test_a_lane_that_the_sample_has_missed(tx: Tx, inspector: Inspector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(census, "PAGES", 1)
    monkeypatch.setattr(census, "LANE", 5)
    tx.connection.execute(WAITING, (2000,))
    for _ in range(10):
        send(tx, queue="short")
    [number] = [each.waiting for each in inspector.queues() if each.name == "short"]
    assert number.how in ("at_least", "estimated")
    assert number.value >= 5


def test_queues(app: Lavoro, tx: Tx, inspector: Inspector) -> None:
    for _ in range(2):
        send(tx, queue="mail")
    tx.connection.execute("update lavoro.waiting set due_at = due_at - interval '30 s'")
    send(tx, queue="mail", countdown=3600.0)
    sent_and_taken(tx, queue="busy")
    chord(tx, queue="mail")
    queues.pause(app.database, ["stopped"])
    failed(tx, queue="past")
    tx.connection.execute("update lavoro.finished set finished_at = finished_at - interval '2 minutes'")
    history.count(tx, minutes=2000)
    found = {queue.name: queue for queue in inspector.queues()}
    assert list(found) == ["busy", "celery", "mail", "past", "stopped"]
    mail = found["mail"]
    assert (mail.waiting, mail.scheduled, mail.held, mail.running) == (Count(3), Count(1), Count(0), Count(0))
    assert mail.latency is not None
    assert 30 <= mail.latency < 600
    assert (mail.paused, mail.served, mail.hour) == (False, False, Ended())
    assert (found["celery"].served, found["celery"].latency, found["celery"].held) == (True, None, Count(1))
    assert (found["stopped"].paused, found["busy"].running) == (True, Count(1))
    assert found["past"].hour == Ended(1, 1)
    assert found["past"].minute in (Ended(), Ended(1, 1))


def test_the_last_minute_and_hour(tx: Tx, inspector: Inspector) -> None:
    now = value(tx, "select date_bin('1 minute', clock_timestamp(), '2000-01-01 00:00+00')")
    for minutes, states in ((1, ("SUCCESS", "FAILURE", "IGNORED")), (59, ("REVOKED",)), (61, ("SUCCESS",))):
        for state in states:
            tx.connection.execute(
                "insert into lavoro.history values ('minute', %s, 'q', 'n', %s, 10, 0, 0, 0, 0, 0)",
                (now - dt.timedelta(minutes=minutes), state),
            )
    tx.connection.execute("update lavoro.history_mark set until = %s", (now,))
    [queue] = [queue for queue in inspector.queues() if queue.name == "q"]
    assert (queue.minute, queue.hour) == (Ended(30, 10), Ended(40, 20))


def test_workers(tx: Tx, inspector: Inspector) -> None:
    other = registered(tx, process=1, queues=("a", "b"))
    for _ in range(3):
        send(tx, queue="a")
    take(tx, lane("a"), worker_id=other)
    one, two = inspector.workers()
    assert (one.node, one.process, one.queues, one.running, one.slots) == ("node@test", 0, ("celery",), 0, 4)
    assert (two.process, two.queues, two.running, two.pool, two.quiet) == (1, ("a", "b"), 3, "threads", False)
    assert 0 <= two.seen < 60
    assert two.started <= dt.datetime.now(dt.timezone.utc)


def test_failures_are_grouped(tx: Tx, inspector: Inspector) -> None:
    ids = [failed(tx, name="shop.mail", queue="mail") for _ in range(3)]
    other = failed(tx, ERROR.replace("ValueError", "KeyError"), options='{"task_id":"order-7"}')
    job = sent_and_taken(tx)
    tasks.finish(tx, 1, [succeeded(job)])
    old = failed(tx)
    tx.connection.execute("update lavoro.finished set finished_at = now() - interval '3 hours' where id = %s", (old,))
    found = inspector.failures()
    assert found.complete
    assert [(group.name, group.error, group.count, group.example, group.message) for group in found.groups] == [
        ("shop.mail", "ValueError", Count(3), str(ids[2]), "no price, for 3"),
        ("test.add", "KeyError", Count(1), "order-7", "no price, for 3"),
    ]
    assert found.groups[0].first < found.groups[0].last
    assert [group.count.value for group in inspector.failures(since=4 * HOUR).groups] == [3, 1, 1]
    assert [group.name for group in inspector.failures(queue="mail").groups] == ["shop.mail"]
    assert [group.error for group in inspector.failures(error="builtins.KeyError").groups] == ["KeyError"]
    assert [group.name for group in inspector.failures(name="shop.*").groups] == ["shop.mail"]
    assert inspector.failures(since=4 * HOUR, until=2 * HOUR).groups[0].example == str(old)
    assert str(other) not in {group.example for group in found.groups}


def test_more_failures_than_are_read(tx: Tx, inspector: Inspector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failures, "READ", 4)
    for _ in range(7):
        failed(tx)
    found = inspector.failures()
    assert (found.complete, found.groups[0].count) == (False, Count(4, "at_least"))
    assert found.since == found.groups[0].first
    assert not inspector.failures(name="none").complete


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"since": HOUR, "until": 2 * HOUR}, "is not before until="),
    ({"queue": 7}, "queue is a text or several, not 7"),
]


@pytest.mark.parametrize(("given", "text"), WRONG)
def test_wrong_questions(inspector: Inspector, given: dict[str, Any], text: str) -> None:
    with pytest.raises(InspectorError, match=text):
        inspector.failures(**given)
