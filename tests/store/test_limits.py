"""Limits in the tables: a claim counts, an end gives back, and a held task comes when there is room."""

from __future__ import annotations

import json
import threading
import uuid
from collections import Counter
from random import Random
from typing import Any

import pytest

from lavoro.protocol import outcome
from lavoro.protocol.place import Place
from lavoro.store import tasks
from lavoro.store.tx import Tx
from tests.store.conftest import Opened
from tests.store.walk import heard, message, rows, succeeded, take, value

ONE = {"tenant:5": {"running": 1}}


def limited(**limits: dict[str, Any]) -> Place:
    return Place(keys=json.dumps({"limits": limits}))


def send(tx: Tx, limits: dict[str, Any], **changes: Any) -> uuid.UUID:
    sent = message(place=Place(keys=json.dumps({"limits": limits})), **changes)
    tasks.insert(tx, [sent])
    return sent.id


def taken(tx: Tx, key: str = "tenant:5") -> int:
    return int(value(tx, "select taken from lavoro.limit_state where key = %s", key))


def held(tx: Tx) -> list[uuid.UUID]:
    return [id for (id,) in rows(tx, "select id from lavoro.held where limited_by is not null order by id")]


def test_a_claim_takes_what_has_room_and_holds_the_rest(tx: Tx) -> None:
    first, second, third = (send(tx, ONE) for _ in range(3))
    tasks.insert(tx, [message()])
    [job, other] = take(tx)
    assert job.id == first
    assert other.id not in (second, third)
    assert (held(tx), taken(tx)) == (sorted([second, third]), 1)
    assert value(tx, "select reason from lavoro.tasks where id = %s", second) == "waits for the limit tenant:5"
    assert value(tx, "select attempts from lavoro.tasks where id = %s", second) == 0


def test_an_end_gives_the_slot_to_the_next(tx: Tx) -> None:
    ids = [send(tx, ONE) for _ in range(3)]
    done = []
    for _ in ids:
        [job] = take(tx)
        done.append(job.id)
        assert tasks.finish(tx, 1, [succeeded(job)]) == 1
    assert done == ids
    assert taken(tx) == 0
    assert not held(tx)
    assert value(tx, "select holds from lavoro.limit_state") is False


def test_several_limits_hold_together(tx: Tx) -> None:
    both = {"a": {"running": 2}, "b": {"running": 1}}
    send(tx, both), send(tx, both), send(tx, {"a": {"running": 2}}), send(tx, {"a": {"running": 2}})
    jobs = take(tx)
    assert len(jobs) == 2
    assert taken(tx, "a") == 2
    assert taken(tx, "b") == 1
    assert rows(tx, "select limited_by, count(*) from lavoro.held group by 1 order by 1") == [("a", 1), ("b", 1)]
    tasks.finish(tx, 1, [succeeded(job) for job in jobs])
    assert len(take(tx)) == 2
    assert not held(tx)


def test_a_limit_of_none_holds_all(tx: Tx) -> None:
    send(tx, {"a": {"running": 0}})
    assert take(tx) == []
    assert len(held(tx)) == 1


def test_a_rate_lets_its_burst_start(tx: Tx) -> None:
    mails = {"smtp": {"rate": 10, "per": 3600, "burst": 3}}
    for _ in range(5):
        send(tx, mails)
    assert len(take(tx)) == 3
    assert len(held(tx)) == 2
    wait = value(tx, "select lavoro.free_limits()")
    assert (wait, len(held(tx))) == (5.0, 2)  # 6 minutes for one; it looks again sooner
    rows(tx, "update lavoro.limit_state set paid_until = paid_until - interval '6 minutes' returning 1")
    value(tx, "select lavoro.free_limits()")
    assert len(take(tx)) == 1
    assert len(held(tx)) == 1


def test_a_rate_that_holds_tells_the_workers(tx: Tx, opened: Opened) -> None:
    mails = {"smtp": {"rate": 10, "per": 3600, "burst": 1}}
    send(tx, mails), send(tx, mails)
    ears = opened().connection
    ears.execute("listen lavoro_wake")
    take(tx)
    assert heard(ears, "lavoro_wake") == ["limits:"]


def test_the_last_terms_win_and_an_operators_stay(tx: Tx) -> None:
    send(tx, ONE)
    take(tx)
    send(tx, {"tenant:5": {"running": 3}})
    assert len(take(tx)) == 1
    assert taken(tx) == 2
    rows(tx, "update lavoro.limit_state set running = 2, fixed = true returning 1")
    send(tx, {"tenant:5": {"running": 9}})
    assert take(tx) == []
    assert len(held(tx)) == 1


@pytest.mark.parametrize("end", ["revoke", "purge", "delete"])
def test_a_waiting_task_that_is_lost_makes_way_for_the_next(tx: Tx, end: str) -> None:
    [_first, second, third] = [send(tx, ONE) for _ in range(3)]
    [job] = take(tx)
    tasks.finish(tx, 1, [succeeded(job)])  # the second comes back to waiting
    assert held(tx) == [third]
    if end == "revoke":
        tasks.revoke_each(tx, [second], cancel="terminate")
    elif end == "purge":
        tx.run("purge_tasks", {"queues": ["celery"]})
    else:
        tx.run("delete_waiting", {"ids": [second], "cascade": False})
    assert [job.id for job in take(tx)] == [third]


def test_many_workers_never_run_more_than_the_limit(opened: Opened) -> None:
    """Some outcomes are retries and releases; two limits are taken in both orders."""
    tx, random = opened(), Random(5)
    limits = {"a": {"running": 2}, "b": {"running": 3}, "c": {"running": 1}}
    for number in range(150):
        names = random.sample(sorted(limits), k=1 + number % 2)
        send(tx, {name: limits[name] for name in names}, args=json.dumps(names))
    now, most, lock = Counter[str](), Counter[str](), threading.Lock()

    def work(worker_id: int, mine: Tx, random: Random) -> None:
        while value(mine, "select exists (select from lavoro.waiting) or exists (select from lavoro.held)"):
            jobs = take(mine, limit=random.randint(1, 4), worker_id=worker_id)
            with lock:
                for job in jobs:
                    now.update(names := json.loads(job.args or "[]"))
                    most.update({name: now[name] - most[name] for name in names if now[name] > most[name]})
            for job in jobs:
                with lock:
                    now.subtract(json.loads(job.args or "[]"))
                chance = random.random()
                if chance < 0.1:
                    tasks.requeue(mine, worker_id, [outcome.released(job)])
                elif chance < 0.2:
                    tasks.requeue(mine, worker_id, [outcome.retrying(job, countdown=0)])
                else:
                    assert tasks.finish(mine, worker_id, [succeeded(job)]) == 1

    threads = [threading.Thread(target=work, args=(number, opened(), Random(number))) for number in range(1, 7)]
    [thread.start() for thread in threads]
    [thread.join(120) for thread in threads]
    assert dict(most) == {"a": 2, "b": 3, "c": 1}
    assert rows(tx, "select key, taken, holds from lavoro.limit_state where taken > 0 or holds") == []
    assert value(tx, "select count(*) from lavoro.finished") == 150
