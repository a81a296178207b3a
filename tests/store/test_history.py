"""The history: each minute that is over is counted once more or less often, and its numbers stay the same."""

from __future__ import annotations

import datetime as dt
import threading
import uuid
from typing import Any

import pytest

from lavoro.protocol import outcome
from lavoro.protocol.outcome import Finished
from lavoro.store import changing, history, results, tasks
from lavoro.store.errors import LOST
from lavoro.store.tx import Tx
from tests.store.conftest import Opened
from tests.store.walk import registered, rows, send, sent_and_taken, succeeded, take, value

MINUTE = dt.timedelta(minutes=1)


@pytest.fixture
def now(tx: Tx) -> dt.datetime:
    """The beginning of the present minute; the two before it are not counted yet."""
    found = value(tx, "select date_bin('1 minute', clock_timestamp(), '2000-01-01 00:00+00')")
    assert isinstance(found, dt.datetime)
    marked(tx, found - 2 * MINUTE)
    return found


def marked(tx: Tx, until: dt.datetime) -> None:
    """Take all minutes before a time as counted."""
    tx.connection.execute("update lavoro.history_mark set until = %s", (until,))


def ended(tx: Tx, at: dt.datetime, state: str = "SUCCESS", **changes: Any) -> uuid.UUID:
    """A task that ended then."""
    job = sent_and_taken(tx, **changes)
    tasks.finish(tx, 1, [Finished(job, state, None, None, None, 0.25)])
    moved(tx, job.id, at)
    return job.id


def moved(tx: Tx, id: uuid.UUID, at: dt.datetime) -> None:
    """Let a task have ended then."""
    tx.connection.execute("update lavoro.finished set finished_at = %s where id = %s", (at, id))


def counted(tx: Tx, period: str = "minute") -> dict[tuple[Any, ...], int]:
    """The numbers of a period, by its beginning, queue, name and state."""
    query = "select bucket, queue, name, state, tasks from lavoro.history where period = %s"
    return {tuple(key): tasks for *key, tasks in rows(tx, query, period)}


def total(tx: Tx, period: str = "minute") -> int:
    return sum(counted(tx, period).values())


def test_the_minutes_that_are_over_are_counted(tx: Tx, now: dt.datetime) -> None:
    before, last = now - 2 * MINUTE, now - MINUTE
    for seconds in (0, 30, 59.999999):
        ended(tx, last + dt.timedelta(seconds=seconds), queue="mail", name="send")
    ended(tx, last, "FAILURE", queue="mail", name="send")
    ended(tx, before, queue="other")
    ended(tx, now)  # this minute is not over
    first = history.count(tx)
    assert first is not None
    assert (first.begins, first.ends, first.changed, first.more) == (before - MINUTE, last, 1, True)
    assert counted(tx) == {(before, "other", "test.add", "SUCCESS"): 1}
    second = history.count(tx)
    assert second is not None
    assert (second.begins, second.ends, second.changed) == (before, now, 2)
    assert 0 < second.wait <= 60
    assert counted(tx) == {
        (before, "other", "test.add", "SUCCESS"): 1,
        (last, "mail", "send", "SUCCESS"): 3,
        (last, "mail", "send", "FAILURE"): 1,
    }
    runtime, longest = rows(tx, "select runtime, longest from lavoro.history where tasks = 3")[0]
    assert (runtime, longest) == (0.75, 0.25)


def test_hours_and_days_are_the_sums_of_their_minutes(tx: Tx, now: dt.datetime) -> None:
    marked(tx, now - dt.timedelta(hours=30))
    for minutes in range(1, 30 * 60, 100):
        ended(tx, now - minutes * MINUTE)
    while (step := history.count(tx, minutes=200)) is not None and step.more:
        pass
    assert total(tx) == total(tx, "hour") == total(tx, "day") == 18
    assert len(counted(tx, "hour")) > 10
    assert {at.astimezone(dt.timezone.utc).time() for at, *_ in counted(tx, "day")} == {dt.time()}


def test_a_repeat_changes_nothing(tx: Tx, now: dt.datetime) -> None:
    ended(tx, now - MINUTE)
    for _ in range(3):
        history.count(tx, minutes=9)
        marked(tx, now - 2 * MINUTE)
    assert [total(tx, period) for period in history.PERIODS] == [1, 1, 1]


def test_nothing_is_left_to_count(tx: Tx, now: dt.datetime) -> None:
    marked(tx, now)
    found = history.count(tx)
    assert found is not None
    if found.begins is None:  # the minute is still the same
        assert (found.changed, found.more) == (0, False)


def test_an_outcome_that_is_committed_late_is_counted_a_minute_later(tx: Tx, now: dt.datetime) -> None:
    ended(tx, now - 2 * MINUTE)
    history.count(tx)
    late = ended(tx, now - 2 * MINUTE)
    history.count(tx)
    assert counted(tx) == {(now - 2 * MINUTE, "celery", "test.add", "SUCCESS"): 2}
    assert total(tx, "day") == 2
    moved(tx, late, now - 9 * MINUTE)  # the stated weakness: this minute was counted twice already
    history.count(tx)
    assert total(tx) == 2


def test_what_is_deleted_afterwards_lowers_no_number(tx: Tx, now: dt.datetime) -> None:
    ids = [ended(tx, now - 2 * MINUTE) for _ in range(3)]
    history.count(tx)
    assert results.forget(tx, *ids[:2])
    assert changing.replay(tx, ids[2:], states=["SUCCESS"]).done == {ids[2]}
    history.count(tx)
    assert [total(tx, period) for period in history.PERIODS] == [3, 3, 3]


def test_a_replayed_task_counts_for_each_of_its_ends(tx: Tx, now: dt.datetime) -> None:
    id = ended(tx, now - 2 * MINUTE, "FAILURE")
    history.count(tx)
    changing.replay(tx, [id])
    tasks.finish(tx, 1, [succeeded(job) for job in take(tx)])
    moved(tx, id, now - MINUTE)
    history.count(tx)
    assert counted(tx) == {
        (now - 2 * MINUTE, "celery", "test.add", "FAILURE"): 1,
        (now - MINUTE, "celery", "test.add", "SUCCESS"): 1,
    }


def test_a_replay_that_commits_during_the_count(tx: Tx, opened: Opened, now: dt.datetime) -> None:
    """The row is locked by the replay, and the count does not wait: it counts the end that has been."""
    id = ended(tx, now - 2 * MINUTE, "FAILURE")
    other = opened()
    with other.connection.transaction():
        changing.replay(other, [id])
        found = history.count(tx)
        assert found is not None
        assert found.changed == 1
    history.count(tx)
    assert total(tx) == 1


def test_one_node_counts_at_a_time(tx: Tx, opened: Opened, now: dt.datetime) -> None:
    ended(tx, now - MINUTE)
    other = opened()
    with other.connection.transaction():
        assert history.count(other) is not None
        assert history.count(tx) is None
    assert history.count(tx) is not None
    assert total(tx) == total(tx, "hour") == 1


def test_all_ends_are_counted_once_though_many_count_while_tasks_end(tx: Tx, opened: Opened, now: dt.datetime) -> None:
    """Four nodes count again and again; meanwhile tasks end in the two minutes that are counted last."""
    stop = threading.Event()
    failures: list[BaseException] = []

    def node(tx: Tx) -> None:
        try:
            while not stop.is_set():
                history.count(tx, minutes=3)
                marked(tx, now - 2 * MINUTE)
        except BaseException as error:  # told to the test
            failures.append(error)

    nodes = [threading.Thread(target=node, args=(opened(),)) for _ in range(4)]
    for each in nodes:
        each.start()
    for number in range(60):
        ended(tx, now - (1 + number % 2) * MINUTE, queue=f"q{number % 3}")
    stop.set()
    for each in nodes:
        each.join(60)
    assert failures == []
    history.count(tx, minutes=3)
    assert [total(tx, period) for period in history.PERIODS] == [60, 60, 60]


def test_a_count_that_is_killed_leaves_nothing_half_done(
    tx: Tx, opened: Opened, now: dt.datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its session ends between the minutes and the hours."""
    ended(tx, now - 2 * MINUTE)
    other = opened()
    run = Tx.run

    def killed(self: Tx, name: str, parameters: Any = None) -> Any:
        if self is other:
            pid = other.connection.info.backend_pid
            tx.connection.execute("select pg_terminate_backend(%s, 60000)", (pid,))
        return run(self, name, parameters)

    monkeypatch.setattr(Tx, "run", killed)
    with pytest.raises(LOST):
        history.count(other)
    assert total(tx) == 0
    assert value(tx, "select until from lavoro.history_mark") == now - 2 * MINUTE
    history.count(tx)
    assert [total(tx, period) for period in history.PERIODS] == [1, 1, 1]


def test_a_clock_that_was_set_back(tx: Tx, now: dt.datetime) -> None:
    """The minutes that come again are counted with what ended in them the first time."""
    marked(tx, now + 30 * MINUTE)
    ended(tx, now - MINUTE)
    history.count(tx)
    assert total(tx) == 1
    assert value(tx, "select until from lavoro.history_mark") < now + 2 * MINUTE


def test_revoked_tasks_count_and_steps_that_were_never_sent_do_not(tx: Tx, now: dt.datetime) -> None:
    last = uuid.uuid4()
    revoked = send(tx, options=f'{{"chain":[{{"task":"test.next","options":{{"task_id":"{last}"}}}}]}}')
    tasks.revoke(tx, [revoked], cancel="{}")
    assert value(tx, "select count(*) from lavoro.finished") == 2
    tx.connection.execute("update lavoro.finished set finished_at = %s", (now - MINUTE,))
    history.count(tx, minutes=2)
    assert counted(tx) == {(now - MINUTE, "celery", "test.add", "REVOKED"): 1}


def test_names_that_no_index_has_room_for(tx: Tx, now: dt.datetime) -> None:
    long = "\U0001f600" * 5000
    for number in range(2):
        ended(tx, now - MINUTE, queue=long + str(number), name=long)
    history.count(tx, minutes=2)
    assert counted(tx) == {(now - MINUTE, long[:200], long[:200], "SUCCESS"): 2}


def test_retries_and_waits(tx: Tx, now: dt.datetime) -> None:
    registered(tx)
    job = sent_and_taken(tx)
    tasks.requeue(tx, 1, [outcome.retrying(job, countdown=0.0)])
    [again] = take(tx)
    tasks.finish(tx, 1, [succeeded(again)])
    tx.connection.execute("update lavoro.finished set due_at = started_at - interval '3 s'")
    moved(tx, job.id, now - MINUTE)
    history.count(tx, minutes=2)
    assert rows(tx, "select retries, crashes, waited::float8 from lavoro.history where period = 'day'") == [
        (1, 0, pytest.approx(3.0))
    ]


def test_old_parts_are_forgotten_once_they_are_summed(tx: Tx, now: dt.datetime) -> None:
    tx.connection.execute("""
        insert into lavoro.history
        select p, m.until - d * interval '1 day', 'q', 'n', 'SUCCESS', 1, 0, 0, 0, 0, 0
        from lavoro.history_mark m, unnest(array['minute', 'hour', 'day']) p, unnest(array[1, 3, 89, 91]) d""")
    history.forget(tx)
    kept = "select period, count(*)::int from lavoro.history group by 1"
    assert dict(rows(tx, kept)) == {"minute": 1, "hour": 3, "day": 3}
