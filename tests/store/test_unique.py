"""Unique keys in the tables: one task holds a key, and only its end gives it back."""

from __future__ import annotations

import json
import threading
import uuid
from typing import Any

import pytest

from lavoro.exceptions import NotUnique
from lavoro.protocol.message import Message
from lavoro.protocol.place import Place
from lavoro.store import tasks, uniques
from lavoro.store.tx import Tx
from tests.store.conftest import Opened
from tests.store.walk import message, rows, succeeded, take, value


def unique(key: str = "a", *, until: str = "done", seconds: float | None = None, error: bool = False) -> Message:
    terms = {"key": key, "until": "time" if seconds else until, "seconds": seconds, "error": error}
    return message(place=Place(keys=json.dumps({"unique": terms}, separators=(",", ":"))))


def send(tx: Tx, *messages: Message, **options: Any) -> dict[uuid.UUID, uuid.UUID]:
    return dict(uniques.insert_any(tx, messages, **options) or {})


def test_a_second_call_gets_the_first_task(tx: Tx) -> None:
    first, second, other = unique(), unique(), unique("b")
    assert send(tx, first) == {}
    assert send(tx, second) == {second.id: first.id}
    assert send(tx, other) == {}
    assert [job.id for job in take(tx)] == [first.id, other.id]
    assert send(tx, third := unique()) == {third.id: first.id}  # it runs


def test_its_end_frees_the_key(tx: Tx) -> None:
    send(tx, unique())
    [job] = take(tx)
    tasks.finish(tx, 1, [succeeded(job)])
    assert send(tx, unique()) == {}
    assert value(tx, "select count(*) from lavoro.unique_key") == 1


def test_of_two_in_one_call_the_first_is_stored(tx: Tx) -> None:
    calls = [unique("a"), unique("b"), unique("a"), unique("a")]
    assert send(tx, *calls) == {calls[2].id: calls[0].id, calls[3].id: calls[0].id}
    assert value(tx, "select count(*) from lavoro.waiting") == 2


def test_a_key_for_a_time_outlives_its_task(tx: Tx) -> None:
    send(tx, first := unique(seconds=3600))
    [job] = take(tx)
    tasks.finish(tx, 1, [succeeded(job)])
    assert send(tx, second := unique(seconds=3600)) == {second.id: first.id}
    rows(tx, "update lavoro.unique_key set expires_at = clock_timestamp() returning 1")
    assert send(tx, unique(seconds=3600)) == {}


def test_a_key_until_the_start_is_free_once_it_runs(tx: Tx) -> None:
    send(tx, first := unique(until="start"))
    assert send(tx, second := unique(until="start")) == {second.id: first.id}
    take(tx)
    assert send(tx, unique(until="start")) == {}


def test_a_holder_that_was_deleted_by_hand_holds_nothing(tx: Tx) -> None:
    send(tx, unique())
    rows(tx, "delete from lavoro.waiting returning 1")
    assert send(tx, unique()) == {}


def test_an_error_is_raised_where_it_is_asked_for(tx: Tx) -> None:
    send(tx, first := unique())
    with pytest.raises(NotUnique, match=rf"the task {first.id} holds its unique key 'a'"):
        send(tx, unique("b"), unique(error=True))
    assert value(tx, "select count(*) from lavoro.waiting") == 1  # nothing of the batch is stored


@pytest.mark.parametrize("commits", [True, False])
def test_a_call_waits_for_an_open_transaction_of_the_key(opened: Opened, commits: bool) -> None:
    first, second, found = unique(), unique(), dict[uuid.UUID, uuid.UUID]()
    sender, other = opened(), opened()
    sender.connection.execute("begin")
    send(sender, first, always_wake=True)
    thread = threading.Thread(target=lambda: found.update(send(other, second)))
    thread.start()
    watch = opened()
    while not value(watch, "select count(*) from pg_stat_activity where wait_event_type = 'Lock'"):
        assert thread.is_alive()
    sender.connection.execute("commit" if commits else "rollback")
    thread.join(10)
    assert found == ({second.id: first.id} if commits else {})
    assert value(watch, "select count(*) from lavoro.waiting") == 1


def test_many_calls_at_once_make_one_task(opened: Opened) -> None:
    for number in range(20):
        calls = [unique(str(number)) for _ in range(8)]
        answers: list[dict[uuid.UUID, uuid.UUID]] = []
        gate = threading.Barrier(len(calls))

        def call(tx: Tx, sent: Message, gate: threading.Barrier = gate, answers: list[Any] = answers) -> None:
            gate.wait(10)
            answers.append(send(tx, sent))

        threads = [threading.Thread(target=call, args=(opened(), each)) for each in calls]
        [thread.start() for thread in threads]
        [thread.join(30) for thread in threads]
        holders = {holder for answer in answers for holder in answer.values()}
        assert sum(not answer for answer in answers) == 1
        assert len(holders) == 1
        assert value(opened(), "select count(*) from lavoro.waiting where id = any (%s)", list(holders)) == 1
