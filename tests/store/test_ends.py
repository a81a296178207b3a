"""Every way in which a task can end is counted once for each barrier that it is a member of, and no other way is."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from typing import NamedTuple

import pytest

from lavoro.exceptions import InvalidCanvas
from lavoro.protocol import outcome
from lavoro.protocol.ids import uuid7
from lavoro.protocol.message import Job, Message
from lavoro.protocol.place import Follow, Place
from lavoro.store import queues, tasks, workers
from lavoro.store.database import Database
from lavoro.store.errors import translated
from lavoro.store.tasks import Ended
from lavoro.store.tx import Tx
from lavoro.store.workers import Ending, Rescue
from tests.store.walk import heard, lane, message, rows, send, stored, succeeded, take, value

ERROR = '{"exc_type":"ValueError","exc_message":["boom"],"exc_module":"builtins"}'
COUNTED, KEPT = 1, 0


class Way(NamedTuple):
    """One way of a member, and what it means to its barrier."""

    stage: str
    act: Callable[[Tx, Database, Job], object]
    counted: int
    error: str | None = None
    """What the body's error says that the member raised; None: the body starts, or still waits."""


def rescue(ending: Ending, *, max_crashes: int = 3) -> Callable[[Tx, Database, Job], object]:
    return lambda tx, db, job: workers.rescue(tx, Rescue(1, ending), max_crashes=max_crashes)


def finish(make: Callable[[Job], outcome.Finished]) -> Callable[[Tx, Database, Job], object]:
    return lambda tx, db, job: tasks.finish(tx, 1, [make(job)])


def requeue(make: Callable[[Job], outcome.Requeued]) -> Callable[[Tx, Database, Job], object]:
    return lambda tx, db, job: tasks.requeue(tx, 1, [make(job)])


def revoke(tx: Tx, db: Database, job: Job) -> object:
    return tasks.revoke(tx, [job.id], cancel="{}")


def complete(tx: Tx, db: Database, job: Job) -> object:
    return tasks.end(tx, Ended(job.id, "SUCCESS", "7"), Follow())


def fail(tx: Tx, db: Database, job: Job) -> object:
    return tasks.end(tx, Ended(job.id, "FAILURE", ERROR), Follow())


def expire(tx: Tx, db: Database, job: Job) -> object:
    rows(tx, "update lavoro.held set expires_at = now() where id = %s returning 1", job.id)
    return tasks.expire_held(tx).ended


WAYS = {
    "success": Way("running", finish(lambda job: succeeded(job)), COUNTED),
    "failure": Way("running", finish(lambda job: outcome.failed(job, ERROR, None)), COUNTED, "ValueError('boom')"),
    "ignore": Way("running", finish(lambda job: outcome.ignored(job, 0.1)), COUNTED, "Ignore()"),
    "revoked or expired at its start": Way(
        "running", finish(lambda job: outcome.revoked(job, ERROR)), COUNTED, "ValueError('boom')"
    ),
    "retry": Way("running", requeue(lambda job: outcome.retrying(job, countdown=0.0)), KEPT),
    "reject and requeue": Way("running", requeue(lambda job: outcome.requeued(job, "not now")), KEPT),
    "stop": Way("running", requeue(outcome.released), KEPT),
    "unknown task": Way("running", requeue(lambda job: outcome.postponed(job, "unknown", 1.0, 2.0)), KEPT),
    "lost process": Way("running", rescue(Ending.expired("gone")), KEPT),
    "lost process, too often": Way(
        "running", rescue(Ending.expired("gone"), max_crashes=1), COUNTED,
        "WorkerLostError('gone; it was running at 1 such ends of a worker (lavoro_max_crashes)')",
    ),
    "hard time limit": Way(
        "running", lambda tx, db, job: rescue(Ending.timed_out(job.id))(tx, db, job), COUNTED,
        "TimeLimitExceeded('the task ran past its hard time limit')",
    ),
    "stopped process": Way("running", rescue(Ending.stopped("told")), KEPT),
    "revoke while it runs": Way("running", revoke, KEPT),
    "revoke, then its process ends": Way(
        "running", lambda tx, db, job: (revoke(tx, db, job), rescue(Ending.stopped("told"))(tx, db, job)), COUNTED,
        "TaskRevokedError('terminated')",
    ),
    "replaced": Way(
        "running",
        finish(lambda job: succeeded(job)._replace(follow=Follow((message(id=job.id),), replaced=True))), KEPT,
    ),
    "handed on": Way(
        "running",
        finish(lambda job: succeeded(job)._replace(follow=Follow((message(id=HEIR),), heir=HEIR))), KEPT,
    ),
    "followed": Way("running", finish(lambda job: succeeded(job)._replace(follow=Follow((message(),)))), COUNTED),
    "revoke while it waits": Way("waiting", revoke, COUNTED, "TaskRevokedError('revoked')"),
    "purge": Way(
        "waiting", lambda tx, db, job: queues.purge(db, ["members"]), COUNTED, "TaskRevokedError('purged')"
    ),
    "revoke while it is held": Way("held", revoke, COUNTED, "TaskRevokedError('revoked')"),
    "purge while it is held": Way(
        "held", lambda tx, db, job: queues.purge(db, ["members"]), COUNTED, "TaskRevokedError('purged')"
    ),
    **{f"completed while {stage}": Way(stage, complete, COUNTED) for stage in ("waiting", "running", "held")},
    **{
        f"failed from outside while {stage}": Way(stage, fail, COUNTED, "ValueError('boom')")
        for stage in ("waiting", "running", "held")
    },
    "expiry while it is held": Way("held", expire, COUNTED, "TaskRevokedError('expired')"),
}  # fmt: skip
HEIR = uuid7()
"""Each way out of `running`, `waiting` and `held`."""


def member_in(tx: Tx, stage: str, barriers: str) -> tuple[Job, list[Message]]:
    """A member of the barriers in that stage, and what was sent with it."""
    sent = message(queue="members", place=Place(barriers))
    if stage == "held":
        blocker = message(queue="blockers", place=Place(json.dumps({str(uuid.uuid4()): 0})))
        tasks.insert(tx, [blocker._replace(place=None)])
        sent = sent._replace(place=Place(barriers, None, 1, (blocker.id,)))
    return Job(*(sent.id, sent.name, *[None] * 4, "members", 0, 1, 0, 0, None, None, False, False)), [sent]  # type: ignore[arg-type]


@pytest.mark.parametrize("name", WAYS)
def test_an_end_is_counted_once_and_nothing_else_is(tx: Tx, database: Database, name: str) -> None:
    way = WAYS[name]
    first, second = uuid7(), uuid7()
    job, sent = member_in(tx, way.stage, json.dumps({str(first): 0, str(second): 1}))
    bodies = [
        message(queue="bodies", place=Place(held_for=first, expects=1)),
        message(queue="bodies", place=Place(held_for=second, expects=2)),
    ]
    tasks.insert(tx, [*sent, *bodies])
    if way.stage == "running":
        [job] = take(tx, lane("members"))
    way.act(tx, database, job)
    assert rows(tx, "select size - remaining from lavoro.barrier where task_id = any (%s) order by size",
                [body.id for body in bodies]) == [(way.counted,), (way.counted,)]  # fmt: skip
    assert rows(tx, "select index from lavoro.member where barrier = any (%s) order by index", [first, second]) == [
        (index,) for index in (0, 1) if way.counted
    ]
    started = [body.id for body in take(tx, lane("bodies"))]
    assert started == ([bodies[0].id] if way.counted and way.error is None else [])
    if way.error is not None:
        for body in bodies:
            assert json.loads(stored(tx, body.id).result or "")["exc_message"] == [
                f"Dependency {job.id} raised {way.error}"
            ]
    elif not way.counted:
        carried = """
            select count(*) from (
                select barriers from lavoro.waiting union all select barriers from lavoro.running
            ) t where barriers ?& %s"""
        assert value(tx, carried, [str(first), str(second)]) == 1


# Blockers


def blocked_by(*ids: uuid.UUID, **changes: object) -> Message:
    return message(name="test.blocked", queue="blocked", place=Place(None, None, len(ids), ids), **changes)


@pytest.mark.parametrize("stage", ["waiting", "running", "held", "finished", "gone"])
def test_a_task_starts_when_its_blocker_has_succeeded(tx: Tx, stage: str) -> None:
    [sent] = member_in(tx, stage, "{}")[1] if stage == "held" else [message(queue="members")]
    tasks.insert(tx, [sent])
    job = None
    if stage in ("running", "finished", "gone"):
        [job] = take(tx, lane("members"))
    if stage in ("finished", "gone") and job:
        tasks.finish(tx, 1, [succeeded(job, "7")])
    if stage == "gone":
        rows(tx, "delete from lavoro.finished returning 1")
    waits = blocked_by(sent.id)
    tasks.insert(tx, [waits])
    if stage == "gone":
        assert "no task of this id is stored" in (stored(tx, waits.id).result or "")
        return
    if stage != "finished":
        assert take(tx, lane("blocked")) == []
        if stage == "held":
            tasks.finish(tx, 1, [succeeded(job) for job in take(tx, lane("blockers"))])
        jobs = [job] if stage == "running" and job else take(tx, lane("members"))
        tasks.finish(tx, 1, [succeeded(job, "7") for job in jobs])
    assert [job.id for job in take(tx, lane("blocked"))] == [waits.id]
    assert value(tx, "select result::text from lavoro.member where barrier = %s", waits.id) == "7"


def test_a_task_waits_for_all_its_blockers_and_one_may_block_many(tx: Tx) -> None:
    ids = [send(tx) for _ in range(3)]
    tasks.insert(tx, [blocked_by(*ids), blocked_by(*ids[:2])])
    jobs = take(tx)
    tasks.finish(tx, 1, [succeeded(job) for job in jobs[:2]])
    assert len(take(tx, lane("blocked"))) == 1
    tasks.finish(tx, 1, [succeeded(jobs[2])])
    assert len(take(tx, lane("blocked"))) == 1


def test_a_blocker_counts_at_its_own_end_though_its_chain_goes_on(tx: Tx) -> None:
    blocker = send(tx)
    waits, step = blocked_by(blocker), message()
    tasks.insert(tx, [waits])
    [job] = take(tx)
    tasks.finish(tx, 1, [succeeded(job)._replace(follow=Follow((step,), heir=step.id))])
    assert [job.id for job in take(tx, lane("blocked"))] == [waits.id]
    assert value(tx, "select barriers from lavoro.waiting where id = %s", step.id) is None


def test_tasks_that_wait_for_each_other_are_refused(tx: Tx) -> None:
    one, other = message(), message()
    sent = [
        one._replace(place=Place(None, None, 1, (other.id,))),
        other._replace(place=Place(None, None, 1, (one.id,))),
    ]
    with pytest.raises(InvalidCanvas, match="would wait for itself"), translated():
        tasks.insert(tx, sent)
    assert value(tx, "select count(*) from lavoro.tasks") == 0
    with pytest.raises(InvalidCanvas, match="would wait for itself"), translated():
        tasks.insert(tx, [one._replace(place=Place(None, None, 1, (one.id,)))])


def test_callers_hear_of_a_body_that_fails_and_nodes_of_its_handlers(tx: Tx, database: Database) -> None:
    barrier = uuid7()
    member, body = message(place=Place(f'{{"{barrier}":0}}')), message(place=Place(held_for=barrier, expects=1))
    tasks.insert(tx, [member, body])
    listener = database.open("listener").connection
    listener.execute("listen lavoro_done")
    listener.execute("listen lavoro_wake")
    [job] = take(tx)
    tasks.finish(tx, 1, [outcome.failed(job, ERROR, None)])
    assert {str(body.id), "unhandled:celery"} <= set(heard(listener))
    listener.close()


def test_steps_behind_a_task_that_ends_from_outside_end_with_it(tx: Tx, database: Database) -> None:
    steps = [uuid.uuid4(), uuid.uuid4()]
    options = json.dumps({"chain": [{"task": "test.step", "options": {"task_id": str(step)}} for step in steps]})
    revoked, *_ = [send(tx, options=options.replace(str(steps[1]), str(uuid.uuid4()))) for _ in range(3)]
    tasks.revoke(tx, [revoked], cancel="{}")
    assert stored(tx, steps[0]).state == "REVOKED"
    rows(tx, "delete from lavoro.finished returning 1")
    [job, _] = take(tx)
    workers.rescue(tx, Rescue(1, Ending.timed_out(job.id)), max_crashes=3)
    assert "TimeLimitExceeded" in (stored(tx, steps[0]).result or "")
    rows(tx, "delete from lavoro.finished returning 1")
    queues.purge(database, ["celery"])
    assert stored(tx, steps[0]).state == "REVOKED"


# From outside


def test_a_task_that_is_ended_from_outside_is_over_and_its_start_is_refused(tx: Tx, database: Database) -> None:
    id, step = send(tx), message()
    [job] = take(tx)
    listener = database.open("listener").connection
    listener.execute("listen lavoro_wake")
    assert tasks.end(tx, Ended(id, "SUCCESS", "7"), Follow((step,), heir=step.id))
    assert heard(listener) == [f"ended:1:{id}"]
    listener.close()
    assert (stored(tx, id).state, stored(tx, id).result) == ("SUCCESS", "7")
    assert tasks.finish(tx, 1, [succeeded(job)]) == 0
    assert [job.id for job in take(tx)] == [step.id]
    assert not tasks.end(tx, Ended(id, "SUCCESS", "8"), Follow())


def test_a_step_that_follows_an_end_from_outside_inherits_its_barriers(tx: Tx) -> None:
    barrier, step = uuid7(), message()
    member, body = message(place=Place(f'{{"{barrier}":0}}')), message(place=Place(held_for=barrier, expects=1))
    tasks.insert(tx, [member, body])
    assert tasks.end(tx, Ended(member.id, "SUCCESS", "7"), Follow((step,), heir=step.id))
    [job] = take(tx)
    assert job.id == step.id
    tasks.finish(tx, 1, [succeeded(job, "8")])
    assert value(tx, "select result::text from lavoro.member") == "8"
    assert [job.id for job in take(tx)] == [body.id]


# Operators


@pytest.mark.parametrize("policy", [None, "wait", "run"])
def test_a_purge_tells_which_held_tasks_of_other_queues_fail_with_it(
    tx: Tx, database: Database, policy: str | None
) -> None:
    """Those that wait for them, and those that wait for these in turn; not those that are deleted themselves."""
    member, inner, outer, other = uuid7(), uuid7(), uuid7(), uuid7()
    sent = [
        message(queue="members", place=Place(f'{{"{member}":0,"{other}":0}}')),
        message(name="test.inner", queue="bodies", place=Place(f'{{"{inner}":0}}', member, 1, policy=policy)),
        message(name="test.outer", queue="bodies", place=Place(f'{{"{outer}":0}}', inner, 1)),
        message(name="test.outer", queue="bodies", place=Place(None, outer, 1)),
        message(name="test.purged", queue="members", place=Place(None, other, 1)),
        message(name="test.another", queue="bodies", place=Place(held_for=uuid7(), expects=1)),
    ]
    tasks.insert(tx, sent)
    failing = {} if policy == "run" else {"test.outer": 2, "test.inner": 1}
    assert queues.held_behind(database, ["members"]) == failing
    assert queues.held_behind(database, ["bodies"]) == {}
    assert queues.purge(database, ["members"]) == (2, failing)
    found = dict(rows(tx, "select name, count(*) from lavoro.finished where state = 'FAILURE' group by name"))
    assert found == failing


def test_a_held_task_is_counted_by_status_and_purged(tx: Tx, database: Database) -> None:
    tasks.insert(tx, [blocked_by(send(tx))])
    found = {status.queue: (status.ready, status.held) for status in queues.queue_status(database)}
    assert found == {"celery": (1, 0), "blocked": (0, 1)}
    assert queues.purge(database, ["blocked"]) == (1, {})
    assert value(tx, "select count(*) from lavoro.held") == 0
