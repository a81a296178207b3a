"""What a task holds at each of its ends: its slot is given back, and its unique key is freed or kept."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from typing import Any

import pytest

from lavoro.protocol import outcome
from lavoro.protocol.message import Job
from lavoro.protocol.place import Follow, Place
from lavoro.store import tasks, uniques, workers
from lavoro.store.tasks import Ended
from lavoro.store.tx import Tx
from lavoro.store.workers import Ending, Rescue
from tests.store.walk import message, rows, stage_of, succeeded, take, value

KEYS = json.dumps({
    "limits": {"tenant": {"running": 1}}, "unique": {"key": "a", "until": "done", "seconds": None, "error": False},
}, separators=(",", ":"))  # fmt: skip


def ends_with(found: Any) -> Callable[[Tx, Job], object]:
    return lambda tx, job: tasks.finish(tx, 1, [found(job)])


def rescued(max_crashes: int, ending: Ending) -> Callable[[Tx, Job], object]:
    return lambda tx, job: workers.rescue(tx, Rescue(1, ending), max_crashes=max_crashes)


def replaced(tx: Tx, job: Job) -> None:
    after = Follow((message(id=job.id),), job.id, replaced=True)
    tasks.finish(tx, 1, [succeeded(job)._replace(follow=after)])


def followed(tx: Tx, job: Job) -> None:
    """By the next link of a chain."""
    after = message()
    tasks.finish(tx, 1, [succeeded(job)._replace(follow=Follow((after,), after.id))])


def both_at_once(tx: Tx, job: Job) -> None:
    """In a batch, by the long form."""
    tasks.insert(tx, [message()])
    [other] = take(tx)
    tasks.finish(tx, 1, [succeeded(job), succeeded(other)])


OVER: dict[str, Callable[[Tx, Job], object]] = {
    "success": ends_with(succeeded),
    "a batch": both_at_once,
    "failure": ends_with(lambda job: outcome.failed(job, '{"exc_type":"ValueError"}', None)),
    "a link follows": followed,
    "crashed too often": rescued(1, Ending.expired("gone")),
    "ended from outside": lambda tx, job: tasks.end(tx, Ended(job.id, "SUCCESS", "1"), Follow()),
}
BACK: dict[str, Callable[[Tx, Job], object]] = {
    "retry": lambda tx, job: tasks.requeue(tx, 1, [outcome.retrying(job)]),
    "release": lambda tx, job: tasks.requeue(tx, 1, [outcome.released(job)]),
    "lost process": rescued(9, Ending.expired("gone")),
    "stop": rescued(9, Ending.stopped("told")),
    "replaced": replaced,
}
NEVER: dict[str, Callable[[Tx, uuid.UUID], object]] = {
    "revoked": lambda tx, id: tasks.revoke_each(tx, [id], cancel="{}"),
    "purged": lambda tx, id: tx.run("purge_tasks", {"queues": ["celery"]}),
    "deleted": lambda tx, id: tx.run("delete_waiting", {"ids": [id], "cascade": False}),
    "ended from outside": lambda tx, id: tasks.end(tx, Ended(id, "FAILURE", "{}"), Follow()),
}


def sent(tx: Tx) -> uuid.UUID:
    task = message(place=Place(keys=KEYS))
    assert uniques.insert_any(tx, [task]) == {}
    return task.id


def running(tx: Tx) -> Job:
    sent(tx)
    [job] = take(tx)
    assert value(tx, "select taken from lavoro.limit_state") == 1
    return job


def is_free(tx: Tx) -> bool:
    return not rows(tx, "select 1 from lavoro.unique_key")


@pytest.mark.parametrize("end", OVER)
def test_what_is_over_holds_nothing(tx: Tx, end: str) -> None:
    job = running(tx)
    OVER[end](tx, job)
    assert stage_of(tx, job.id) == "finished"
    assert (value(tx, "select taken from lavoro.limit_state"), is_free(tx)) == (0, True)
    assert json.loads(value(tx, "select keys::text from lavoro.finished where id = %s", job.id)) == json.loads(KEYS)


@pytest.mark.parametrize("end", BACK)
def test_what_comes_again_keeps_its_unique_key_and_no_slot(tx: Tx, end: str) -> None:
    job = running(tx)
    BACK[end](tx, job)
    assert stage_of(tx, job.id) == "waiting"
    assert (value(tx, "select taken from lavoro.limit_state"), is_free(tx)) == (0, False)
    [again] = take(tx, worker_id=2)
    assert again.id == job.id
    tasks.finish(tx, 2, [succeeded(again)])
    assert is_free(tx)


@pytest.mark.parametrize("end", NEVER)
def test_what_never_starts_holds_nothing(tx: Tx, end: str) -> None:
    NEVER[end](tx, sent(tx))
    assert is_free(tx)
    assert uniques.insert_any(tx, [message(place=Place(keys=KEYS))]) == {}


@pytest.mark.parametrize("end", [end for end in (*OVER, *BACK) if end != "a batch"])
def test_a_stale_outcome_gives_nothing_back(tx: Tx, end: str) -> None:
    """The fence: of two ends of one start, the first counts."""
    job = running(tx)
    OVER["crashed too often"](tx, job)
    second = message(place=Place(keys=KEYS))
    uniques.insert_any(tx, [second])
    assert [each.id for each in take(tx, worker_id=2)] == [second.id]
    if end != "ended from outside":
        (OVER | BACK)[end](tx, job)
    assert (value(tx, "select taken from lavoro.limit_state"), is_free(tx)) == (1, False)


def test_held_tasks_of_a_limit_end_too(tx: Tx) -> None:
    running(tx)
    other = message(place=Place(keys=KEYS.replace('"key":"a"', '"key":"b"')))
    uniques.insert_any(tx, [other])
    assert take(tx, worker_id=2) == []
    assert stage_of(tx, other.id) == "held"
    assert tasks.revoke_each(tx, [other.id], cancel="{}").ended
    assert rows(tx, "select key from lavoro.unique_key") == [("a",)]
