"""Barriers under concurrency: each member counts once, whoever meets whom, and nobody waits in a circle."""

from __future__ import annotations

import json
import random
import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from lavoro.protocol import outcome
from lavoro.protocol.ids import uuid7
from lavoro.protocol.message import Job, Message
from lavoro.protocol.place import Follow, Place
from lavoro.store import tasks
from lavoro.store.tasks import Ended
from lavoro.store.tx import Tx
from tests.store.walk import lane, message, rows, sent_and_taken, stage_of, stored, succeeded, take, value

Opened = Callable[[], Tx]
Wait = Callable[..., None]
ERROR = '{"exc_type":"ValueError","exc_message":["boom"],"exc_module":"builtins"}'


@pytest.fixture
def thread() -> Any:
    with ThreadPoolExecutor(8) as threads:
        yield threads.submit


def chord(size: int, *, outer: str | None = None, **changes: Any) -> list[Message]:
    barrier = uuid7()
    members = [message(place=Place(json.dumps({str(barrier): index}))) for index in range(size)]
    return [*members, message(queue="bodies", place=Place(outer, barrier, size), **changes)]


def test_two_finishers_end_the_last_two_members(tx: Tx, opened: Opened, thread: Any, until_it_waits: Wait) -> None:
    *_, body = sent = chord(2)
    tasks.insert(tx, sent)
    first, second = take(tx)
    with tx.connection.transaction():
        tasks.finish(tx, 1, [succeeded(first)])
        other = thread(tasks.finish, opened(), 1, [succeeded(second)])
        until_it_waits("lavoro-test")
    assert other.result(60) == 1
    assert [job.id for job in take(tx, lane("bodies"))] == [body.id]
    assert value(tx, "select remaining from lavoro.barrier") == 0


def test_a_body_is_revoked_while_its_last_member_ends(
    tx: Tx, opened: Opened, thread: Any, until_it_waits: Wait
) -> None:
    member, body = sent = chord(1)
    tasks.insert(tx, sent)
    [job] = take(tx)
    with tx.connection.transaction():
        tasks.finish(tx, 1, [succeeded(job)])
        other = thread(tasks.revoke, opened(), [body.id], cancel="{}")
        until_it_waits("lavoro-test")
    assert other.result(60) == 1
    assert stored(tx, body.id).state == "REVOKED"
    assert stored(tx, member.id).state == "SUCCESS"
    assert take(tx, lane("bodies")) == []


def test_the_last_member_ends_while_the_body_is_revoked(
    tx: Tx, opened: Opened, thread: Any, until_it_waits: Wait
) -> None:
    _, body = sent = chord(1)
    tasks.insert(tx, sent)
    [job] = take(tx)
    with tx.connection.transaction():
        tasks.revoke(tx, [body.id], cancel="{}")
        other = thread(tasks.finish, opened(), 1, [succeeded(job)])
        until_it_waits("lavoro-test")
    assert other.result(60) == 1
    assert stored(tx, body.id).state == "REVOKED"
    assert value(tx, "select count(*) from lavoro.waiting") == 0


def blocked_by(*ids: uuid.UUID) -> Message:
    return message(queue="bodies", place=Place(None, None, len(ids), ids))


@pytest.mark.parametrize("number", [1, 2], ids=["alone", "in a batch"])
def test_a_blocker_ends_while_it_is_marked(
    tx: Tx, opened: Opened, thread: Any, until_it_waits: Wait, number: int
) -> None:
    jobs = [sent_and_taken(tx) for _ in range(number)]
    waits = blocked_by(*(job.id for job in jobs))
    with tx.connection.transaction():
        tasks.insert(tx, [waits])
        other = thread(tasks.finish, opened(), 1, [succeeded(job) for job in jobs])
        until_it_waits("lavoro-test")
    assert other.result(60) == number
    assert [job.id for job in take(tx, lane("bodies"))] == [waits.id]


def test_a_blocker_is_marked_while_it_ends(tx: Tx, opened: Opened, thread: Any, until_it_waits: Wait) -> None:
    job = sent_and_taken(tx)
    waits = blocked_by(job.id)
    with tx.connection.transaction():
        tasks.finish(tx, 1, [succeeded(job)])
        other = thread(tasks.insert, opened(), [waits])
        until_it_waits("lavoro-test")
    assert other.result(60) is False
    assert [job.id for job in take(tx, lane("bodies"))] == [waits.id]


def test_a_blocker_is_requeued_while_it_is_marked(tx: Tx, opened: Opened, thread: Any, until_it_waits: Wait) -> None:
    job = sent_and_taken(tx)
    waits = blocked_by(job.id)
    with tx.connection.transaction():
        tasks.requeue(tx, 1, [outcome.retrying(job, countdown=0.0)])
        other = thread(tasks.insert, opened(), [waits])
        until_it_waits("lavoro-test")
    other.result(60)
    assert stage_of(tx, waits.id) == "held"
    [job] = take(tx)
    tasks.finish(tx, 1, [succeeded(job)])
    assert [job.id for job in take(tx, lane("bodies"))] == [waits.id]


def test_nested_canvases_that_fail_and_are_revoked_at_once_never_deadlock(
    tx: Tx, opened: Opened, thread: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each inner body counts for an outer one of a lower or a higher id."""
    chance, bodies = random.Random(5), list[uuid.UUID]()
    for _ in range(60):
        outer = uuid7()
        inner = [chord(2, outer=json.dumps({str(outer): index})) for index in range(2)]
        held = message(queue="bodies", place=Place(held_for=outer, expects=2))
        sent = [held, *(each for chord_ in inner for each in chord_)]
        if chance.random() < 0.5:  # an outer barrier that is younger than the inner ones
            younger = uuid7()
            sent = [
                each._replace(place=each.place._replace(
                    barriers=each.place.barriers and each.place.barriers.replace(str(outer), str(younger)),
                    held_for=younger if each.place.held_for == outer else each.place.held_for,
                )) if each.place else each
                for each in sent
            ]  # fmt: skip
        tasks.insert(tx, sent)
        bodies += [each.id for each in sent if each.queue == "bodies"]
    jobs = take(tx, limit=1000)
    chance.shuffle(jobs)
    monkeypatch.setattr("lavoro.store.tx.CONFLICTS", ())  # a deadlock is an error here, and is not tried again
    gate = threading.Barrier(5)

    def finish(part: list[Any], seed: int) -> None:
        own, mine = random.Random(seed), opened()
        gate.wait()
        while part:
            batch, part = part[:7], part[7:]
            ends = [succeeded(j) if own.random() < 0.8 else outcome.failed(j, ERROR, None) for j in batch]
            assert tasks.finish(mine, 1, ends) == len(batch)

    def revoke(part: list[uuid.UUID]) -> None:
        mine = opened()
        gate.wait()
        for at in range(0, len(part), 3):
            tasks.revoke(mine, part[at : at + 3], cancel="{}")

    working = [thread(finish, jobs[number::4], number) for number in range(4)]
    working.append(thread(revoke, chance.sample(bodies, 30)))
    for each in working:
        each.result(120)
    while found := take(tx, lane("bodies"), limit=1000):
        tasks.finish(tx, 1, [succeeded(job) for job in found])
    assert rows(tx, "select id from lavoro.held") == []
    assert {state for (state,) in rows(tx, "select state from lavoro.finished where id = any (%s)", bodies)} == {
        "SUCCESS", "FAILURE", "REVOKED",
    }  # fmt: skip


def test_the_barriers_above_are_locked_first_in_the_order_of_ids(
    tx: Tx, opened: Opened, thread: Any, until_it_waits: Wait
) -> None:
    """The inner barrier has the higher id: its member must not hold it while it waits for the outer one."""
    outer = uuid7()
    *_, body = inner = chord(1, outer=json.dumps({str(outer): 0}))
    assert body.place is not None
    assert body.place.held_for is not None
    assert body.place.held_for > outer
    tasks.insert(tx, [*inner, message(queue="bodies", place=Place(held_for=outer, expects=1))])
    [job] = take(tx)
    with tx.connection.transaction():
        rows(tx, "select from lavoro.barrier where id = %s for update", outer)
        other = thread(tasks.finish, opened(), 1, [outcome.failed(job, ERROR, None)])
        until_it_waits("lavoro-test")
        assert len(rows(tx, "select from lavoro.barrier where id = %s for update nowait", body.place.held_for)) == 1
    assert other.result(60) == 1
    assert value(tx, "select count(*) from lavoro.finished where state = 'FAILURE'") == 3


def fail_the_member(tx: Tx, member: Job, body: uuid.UUID) -> object:
    return tasks.finish(tx, 1, [outcome.failed(member, ERROR, None)])


def end_the_last_member(tx: Tx, member: Job, body: uuid.UUID) -> object:
    return tasks.finish(tx, 1, [succeeded(member)])


def revoke_the_body(tx: Tx, member: Job, body: uuid.UUID) -> object:
    return tasks.revoke(tx, [body], cancel="{}")


def fail_the_body_from_outside(tx: Tx, member: Job, body: uuid.UUID) -> object:
    return tasks.end(tx, Ended(body, "FAILURE", ERROR), Follow())


@pytest.mark.parametrize(
    ("end", "policy"),
    [
        (fail_the_member, None),
        (end_the_last_member, "wait"),
        (revoke_the_body, None),
        (fail_the_body_from_outside, None),
    ],
)
def test_a_held_task_and_another_in_its_place_end_at_once(
    tx: Tx, opened: Opened, thread: Any, until_it_waits: Wait, monkeypatch: pytest.MonkeyPatch,
    end: Callable[[Tx, Job, uuid.UUID], object], policy: str | None,
) -> None:  # fmt: skip
    """The body of an inner chord is sent again: both hold its place in the outer one, and the first to end counts."""
    monkeypatch.setattr("lavoro.store.tx.CONFLICTS", ())  # a deadlock is an error here, and is not tried again
    inner, outer = uuid7(), uuid7()
    held = [
        message(queue="bodies", place=Place(f'{{"{outer}":0}}', inner, 2, policy=policy)),
        message(queue="bodies", place=Place(None, outer, 1)),
    ]
    members = [message(place=Place(f'{{"{inner}":{index}}}')) for index in range(2)]
    again = message(queue="again", place=Place(f'{{"{outer}":0}}'))
    tasks.insert(tx, [*held, *members, again])
    first, last = take(tx)
    [job] = take(tx, lane("again"))
    tasks.finish(tx, 1, [outcome.failed(first, ERROR, None) if policy else succeeded(first)])
    with tx.connection.transaction():
        rows(tx, "select from lavoro.held where id = %s for update", held[0].id)
        one = thread(end, opened(), last, held[0].id)
        until_it_waits("lavoro-test")  # it has locked the barriers
        other = thread(tasks.finish, opened(), 1, [succeeded(job)])
        until_it_waits("lavoro-test", count=2)
    one.result(60)
    assert other.result(60) == 1
    assert stored(tx, held[0].id).state == ("REVOKED" if end is revoke_the_body else "FAILURE")
    assert stored(tx, job.id).state == "SUCCESS"
    assert stored(tx, held[1].id).state == "FAILURE"
    assert value(tx, "select count(*) from lavoro.member where state = ''") == 0
