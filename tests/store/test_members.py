"""Barriers and their members as long as they are needed, and their limits."""

from __future__ import annotations

import json
import uuid

import pytest

from lavoro.protocol import outcome
from lavoro.protocol.ids import uuid7
from lavoro.protocol.message import Message
from lavoro.protocol.place import Place
from lavoro.store import members, tasks
from lavoro.store.tx import Tx
from tests.store.walk import lane, message, rows, succeeded, take, value


def chord(size: int) -> list[Message]:
    barrier = uuid7()
    header = [message(place=Place(json.dumps({str(barrier): index}))) for index in range(size)]
    return [*header, message(queue="bodies", place=Place(held_for=barrier, expects=size))]


def age(tx: Tx) -> None:
    rows(tx, "update lavoro.barrier set ended_at = ended_at - interval '2 hours' returning 1")


def test_a_barrier_lives_until_its_task_is_gone(tx: Tx) -> None:
    tasks.insert(tx, chord(2))
    assert members.forget_old(tx, kept=0.0) == 0
    tasks.finish(tx, 1, [succeeded(job) for job in take(tx)])
    age(tx)
    assert members.forget_old(tx, kept=3600.0) == 0, "the body waits"
    [job] = take(tx, lane("bodies"))
    assert members.forget_old(tx, kept=3600.0) == 0, "the body runs"
    tasks.finish(tx, 1, [succeeded(job)])
    assert members.forget_old(tx, kept=3600.0) == 0, "its result is kept"
    rows(tx, "delete from lavoro.finished where id = %s returning 1", job.id)
    assert members.forget_old(tx, kept=7300.0) == 0, "it has not ended for so long"
    assert members.forget_old(tx, kept=3600.0) == 1
    assert value(tx, "select count(*) from lavoro.member") == 0


def test_old_barriers_are_deleted_batch_by_batch(tx: Tx) -> None:
    for _ in range(3):
        tasks.insert(tx, chord(1))
    tasks.finish(tx, 1, [succeeded(job) for job in take(tx)])
    rows(tx, "update lavoro.barrier set size = 60000 returning 1")
    rows(tx, "delete from lavoro.waiting returning 1")
    age(tx)
    assert len(tx.run("forget_barriers", {"kept": 0.0})) == 2
    assert members.forget_old(tx, kept=0.0) == 1


def test_relative_times_of_a_held_task_count_from_its_release(tx: Tx) -> None:
    sent = chord(1)
    sent[-1] = sent[-1]._replace(countdown=100.0, expires_in=200.0)
    tasks.insert(tx, sent)
    rows(tx, "update lavoro.held set due_at = due_at - interval '1 hour' returning 1")
    assert tasks.expire_held(tx).ended == 0
    tasks.finish(tx, 1, [succeeded(job) for job in take(tx)])
    seconds = "round(extract(epoch from {} - clock_timestamp()))::int"
    assert rows(tx, f"select {seconds.format('due_at')}, {seconds.format('expires_at')} from lavoro.waiting") == [
        (100, 200)
    ]


@pytest.mark.slow
def test_a_hundred_thousand_members(tx: Tx) -> None:
    number = 100_000
    *_, body = sent = chord(number)
    tasks.insert(tx, sent)
    counted = 0
    while jobs := take(tx, limit=10_000):
        counted += tasks.finish(tx, 1, [succeeded(job, "1") for job in jobs])
    assert counted == number
    [job] = take(tx, lane("bodies"))
    assert job.id == body.id
    barrier = body.place and body.place.held_for
    assert barrier is not None
    assert sum(json.loads(members.gather(tx, barrier, limit=1_000_000).results)) == number


def test_a_barrier_whose_task_was_revoked_notes_members_and_releases_nothing(tx: Tx) -> None:
    first, second, body = chord(2)
    tasks.insert(tx, [first, second, body])
    jobs = take(tx)
    tasks.revoke(tx, [body.id], cancel="{}")
    tasks.finish(tx, 1, [succeeded(job) for job in jobs])
    assert take(tx, lane("bodies")) == []
    assert rows(tx, "select remaining, ended_at is not null from lavoro.barrier") == [(0, True)]


def gathered_small(tx: Tx, *chords_: list[Message]) -> dict[uuid.UUID, str]:
    places = [each[-1].place for each in chords_]
    found = members.gather_small(tx, [place.held_for for place in places if place and place.held_for])
    return {id: each.results for id, each in found.items()}


def test_the_results_of_small_chords_are_read_together(tx: Tx) -> None:
    first, second, empty = chord(11), chord(1), chord(1)
    tasks.insert(tx, first)
    tasks.finish(tx, 1, [succeeded(job, str(number)) for number, job in enumerate(take(tx))])
    tasks.insert(tx, second)
    tasks.finish(tx, 1, [succeeded(job, '{"a": "é"}') for job in take(tx)])
    tasks.insert(tx, empty)
    rows(tx, "delete from lavoro.waiting where queue = 'celery' returning 1")
    assert sorted(gathered_small(tx, first, second, empty).values()) == ["[0,1,2,3,4,5,6,7,8,9,10]", '[{"a": "é"}]']
    [one] = members.gather_small(tx, [first[-1].place.held_for]).values()  # type: ignore[union-attr,list-item]
    assert one == members.gather(tx, first[-1].place.held_for, limit=1000)  # type: ignore[union-attr,arg-type]


@pytest.mark.parametrize("case", ["a failure", "a payload", "large", "many"])
def test_other_results_are_not_read_with_those_of_small_chords(tx: Tx, case: str) -> None:
    sent = chord(2)
    sent[-1] = sent[-1]._replace(place=sent[-1].place and sent[-1].place._replace(policy="run"))
    tasks.insert(tx, sent)
    first, second = take(tx)
    ended = {
        "a failure": outcome.failed(first, '{"exc_type":"E","exc_message":[],"exc_module":"m"}', None),
        "a payload": outcome.succeeded(first, '"application/x-python-serialize"', 0.1, payload=b"x"),
        "large": succeeded(first, f'"{"x" * 8192}"'),
        "many": succeeded(first),
    }[case]
    tasks.finish(tx, 1, [ended, succeeded(second)])
    if case == "many":
        rows(tx, "update lavoro.barrier set size = 101 returning 1")
    assert gathered_small(tx, sent) == {}
