"""Sending: a row that can be claimed, stored once, timed by the database's clock, announced only to who sleeps."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

import psycopg
import pytest

from lavoro.store import tasks
from lavoro.store.database import Database
from lavoro.store.tx import Tx
from tests.store.walk import heard, message, rows, send, sent_and_taken, succeeded, take, value

UTC = dt.timezone.utc
MANY = pytest.mark.parametrize("count", [1, 2])
"""One message and several go through different statements."""


def insert(tx: Tx, count: int, **changes: object) -> None:
    tasks.insert(tx, [message(**changes) for _ in range(count)])


def test_nothing_is_sent_by_an_empty_list(tx: Tx) -> None:
    tasks.insert(tx, [])
    assert rows(tx, "select 1 from lavoro.waiting") == []


@MANY
def test_every_field_is_stored(tx: Tx, count: int) -> None:
    eta, expires = dt.datetime(2100, 1, 1, tzinfo=UTC), dt.datetime(2100, 1, 2, tzinfo=UTC)
    kept = {
        "queue": "Müll/主",
        "priority": -7,
        "retries": 2,
        "name": "a.b",
        "args": '["\\u0000",1]',
        "kwargs": '{"x":1}',
    }
    insert(tx, count, eta=eta, expires=expires, options='{"root_id":"r"}', **kept)
    columns = "queue, priority, retries, name, args::text, kwargs::text"
    columns += ", due_at, expires_at, options::text, payload, attempt, crashes"
    expected = (*kept.values(), eta, expires, '{"root_id":"r"}', None, 0, 0)
    assert rows(tx, f"select {columns} from lavoro.waiting") == [expected] * count


@MANY
def test_a_payload_takes_the_place_of_json(tx: Tx, count: int) -> None:
    insert(tx, count, args=None, payload=b"\x00\xff", options='{"content_type":"x"}')
    assert rows(tx, "select args, kwargs, payload from lavoro.waiting") == [(None, None, b"\x00\xff")] * count


@MANY
def test_an_id_that_waits_is_left_alone(tx: Tx, count: int) -> None:
    same = message()
    others = [message() for _ in range(count - 1)]
    tasks.insert(tx, [same])
    tasks.insert(tx, [same._replace(args="[9]"), *others])
    assert value(tx, "select args::text from lavoro.waiting where id = %s", same.id) == "[1,2]"
    assert value(tx, "select count(*) from lavoro.waiting") == count


def test_one_batch_may_hold_an_id_twice(tx: Tx) -> None:
    same = message()
    tasks.insert(tx, [same, same])
    assert value(tx, "select count(*) from lavoro.waiting") == 1


@pytest.mark.parametrize("finished", [False, True])
def test_a_repeat_is_harmless_wherever_the_task_is_by_then(tx: Tx, finished: bool) -> None:
    job = sent_and_taken(tx)
    if finished:
        tasks.finish(tx, 1, [succeeded(job)])
    again, other = message(id=job.id), message()
    tasks.insert(tx, [again], repeated=True)
    tasks.insert(tx, [again, other], repeated=True)
    assert rows(tx, "select id from lavoro.waiting") == [(other.id,)]


@MANY
@pytest.mark.parametrize(
    "when",
    [{}, {"eta": dt.datetime(1999, 1, 1, tzinfo=UTC)}, {"countdown": -3600.0}],
    ids=["plain", "eta", "countdown"],
)
def test_what_is_due_in_the_past_is_due_now(tx: Tx, count: int, when: dict[str, object]) -> None:
    before = value(tx, "select clock_timestamp()")
    insert(tx, count, **when)
    assert value(tx, "select bool_and(due_at between %s and clock_timestamp()) from lavoro.waiting", before)


@MANY
def test_countdown_and_expires_count_from_the_databases_clock(tx: Tx, count: int) -> None:
    before = value(tx, "select clock_timestamp()")
    insert(tx, count, countdown=3600.5, expires_in=7200.25)
    query = """
        select bool_and(due_at - %s between '3600.5 s' and '3600.5 s' + (clock_timestamp() - %s)
            and expires_at - %s between '7200.25 s' and '7200.25 s' + (clock_timestamp() - %s)) from lavoro.waiting"""
    assert value(tx, query, before, before, before, before)


def test_the_clock_goes_on_inside_of_a_transaction(tx: Tx) -> None:
    with tx.connection.transaction():
        began, later = rows(tx, "select now(), clock_timestamp()")[0]
        id = send(tx)
        assert value(tx, "select due_at from lavoro.waiting where id = %s", id) >= later > began


@pytest.mark.parametrize("broken", [{"queue": ""}, {"name": ""}, {"retries": -1}, {"args": "[1"}, {"kwargs": "{"}])
def test_damaged_messages_are_refused(tx: Tx, broken: dict[str, object]) -> None:
    for count in (1, 2):
        with pytest.raises((psycopg.errors.CheckViolation, psycopg.errors.InvalidTextRepresentation)):
            insert(tx, count, **broken)
    assert rows(tx, "select 1 from lavoro.waiting") == []


@pytest.mark.parametrize("expires", [{"expires_in": 1e12}, {"expires": dt.datetime.max.replace(tzinfo=UTC)}])
def test_an_expiry_beyond_pythons_calendar_does_not_stop_the_claim(tx: Tx, expires: dict[str, object]) -> None:
    insert(tx, 1, **expires)
    insert(tx, 2, **expires)
    assert len(take(tx)) == 3


# Waking


class Ears:
    """Listens on the channel that workers listen on."""

    def __init__(self, tx: Tx) -> None:
        self.connection = tx.connection
        self.connection.execute("listen lavoro_wake")

    def heard(self) -> list[str]:
        """What was notified until now."""
        return heard(self.connection)


@pytest.fixture
def ears(opened: Callable[[], Tx]) -> Ears:
    return Ears(opened())


@pytest.fixture
def sleep(opened: Callable[[], Tx]) -> Callable[[str], None]:
    """Do what a node does whose workers on this queue sleep."""

    def sleep(queue: str) -> None:
        opened().cursor.execute("select pg_advisory_lock_shared(hashtextextended(%s, 0))", (f"lavoro_queue:{queue}",))

    return sleep


@MANY
def test_nobody_is_woken_while_nobody_sleeps(tx: Tx, ears: Ears, count: int) -> None:
    insert(tx, count)
    assert ears.heard() == []


@MANY
def test_who_sleeps_on_the_queue_is_woken_once(tx: Tx, ears: Ears, sleep: Callable[[str], None], count: int) -> None:
    sleep("celery")
    insert(tx, count)
    insert(tx, count, queue="other")
    assert ears.heard() == ["due:0:celery"]


@MANY
def test_a_task_for_later_says_so(tx: Tx, ears: Ears, sleep: Callable[[str], None], count: int) -> None:
    sleep("celery")
    insert(tx, count, countdown=3600.0, priority=9)
    assert ears.heard() == ["later:9:celery"]


def test_a_batch_wakes_every_queue_it_serves(tx: Tx, ears: Ears, sleep: Callable[[str], None]) -> None:
    sleep("b")
    sleep("c")
    tasks.insert(tx, [message(queue=queue) for queue in "abcabc"])
    assert sorted(ears.heard()) == ["due:0:b", "due:0:c"]


def test_an_insert_tells_whether_it_has_seen_that_nobody_sleeps(tx: Tx, sleep: Callable[[str], None]) -> None:
    assert tasks.insert(tx, [message()])
    assert not tasks.insert(tx, [message()], look=False)
    assert not tasks.insert(tx, [message(countdown=1.0)])  # nor does it tell where it has not asked
    sleep("celery")
    assert not tasks.insert(tx, [message()])


def test_an_insert_that_does_not_look_wakes_nobody(tx: Tx, ears: Ears, sleep: Callable[[str], None]) -> None:
    sleep("celery")
    tasks.insert(tx, [message()], look=False)
    assert ears.heard() == []
    assert len(rows(tx, "select 1 from lavoro.waiting")) == 1


def test_the_lock_is_tried_and_not_kept(tx: Tx) -> None:
    insert(tx, 1)
    insert(tx, 2)
    assert rows(tx, "select 1 from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()") == []


@MANY
def test_a_callers_transaction_always_wakes_when_it_commits(tx: Tx, ears: Ears, count: int) -> None:
    with tx.connection.transaction():
        tasks.insert(tx, [message() for _ in range(count)], always_wake=True)
        assert ears.heard() == []
    assert ears.heard() == ["due:0:celery"]


@MANY
def test_a_rollback_leaves_no_row_and_no_word(tx: Tx, ears: Ears, count: int) -> None:
    with tx.connection.transaction(force_rollback=True):
        tasks.insert(tx, [message() for _ in range(count)], always_wake=True)
    with tx.connection.transaction(), tx.connection.transaction(force_rollback=True):
        tasks.insert(tx, [message() for _ in range(count)], always_wake=True)
    assert ears.heard() == []
    assert rows(tx, "select 1 from lavoro.waiting") == []


def test_the_insert_is_part_of_its_transaction(database: Database, opened: Callable[[], Tx]) -> None:
    sender, reader = opened(), opened()
    with sender.connection.transaction():
        send(sender)
        assert take(reader) == []
    assert len(take(reader)) == 1
