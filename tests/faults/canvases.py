"""Plays with canvases: each ends well, and each counts on one of the statements that count."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Sequence
from typing import Any

from lavoro.protocol import outcome
from lavoro.protocol.ids import uuid7
from lavoro.protocol.message import Message
from lavoro.protocol.place import Follow, Place
from lavoro.store import changing, tasks
from lavoro.store.arrays import texts
from lavoro.store.workers import Ending
from tests.faults.ledger import sha
from tests.faults.stage import Stage

ERROR = '{"exc_type":"ValueError","exc_message":["no"],"exc_module":"builtins"}'


GOOD = ("SUCCESS",)


def message(**changes: Any) -> Message:
    plain = Message(uuid.uuid4(), "echo", "celery", 0, 0, None, 0.0, None, None, "[1]", None, None, None)
    return plain._replace(**changes)


def send_chord(
    stage: Stage,
    *,
    fate: Sequence[str] = GOOD,
    others: Sequence[str] = GOOD,
    body: Sequence[str] = GOOD,
    more: Sequence[str] = (),
) -> list[str]:
    """Send a chord of two, and return the ids of its members and its body.

    ``fate`` is that of the first member, and that of the second one in ``others``. Members of the ids ``more`` come
    later.
    """
    barrier = uuid.uuid4()
    members = [message(place=Place(f'{{"{barrier}":{index}}}')) for index in range(2)]
    held = message(place=Place(held_for=barrier, expects=2))
    ids = [str(member.id) for member in members]
    details: dict[uuid.UUID, dict[str, Any]] = {
        members[0].id: {"expect": [*fate]},
        members[1].id: {"expect": [*others]},
        held.id: {"expect": [*body], "awaits": [*ids, *more]},
    }
    stage.send_canvas([*members, held], details)
    return [*ids, str(held.id)]


def one_by_one(stage: Stage) -> None:
    """The members of a chord end alone."""
    send_chord(stage)
    stage.run_to_the_end()
    stage.run_to_the_end()


def together(stage: Stage) -> None:
    """The members of a chord end in one batch."""
    send_chord(stage)
    worker = stage.worker()
    results = [(job, stage.end(job, stage.start(job, worker))) for job in stage.claim(worker)]
    stage.finish_all(worker, results, tx=stage.tx)
    stage.run_to_the_end()


def half(stage: Stage) -> None:
    """One member of a chord ends, and then a worker asks for tasks."""
    send_chord(stage)
    worker = stage.worker()
    [first, second] = stage.claim(worker)
    token, later = stage.start(first, worker), stage.start(second, worker)
    stage.finish(worker, first, stage.end(first, token))
    stage.run_to_the_end()
    stage.finish(worker, second, stage.end(second, later))
    stage.run_to_the_end()


def with_callbacks(stage: Stage) -> None:
    """The members of a chord have callbacks."""
    stage.follow = Follow()
    one_by_one(stage)


def member_tried_again(stage: Stage) -> None:
    """A member is tried again and succeeds."""
    send_chord(stage)
    worker = stage.worker()
    for job in stage.claim(worker):
        stage.start(job, worker)
        stage.retry(worker, job)
    stage.run_to_the_end()
    stage.run_to_the_end()


def member_lost(stage: Stage) -> None:
    """The worker of the members dies, and both start again."""
    send_chord(stage)
    worker = stage.worker()
    for job in stage.claim(worker):
        stage.start(job, worker)
    stage.rescue(worker)
    stage.run_to_the_end()
    stage.run_to_the_end()


def member_fails(stage: Stage) -> None:
    """A member fails."""
    send_chord(stage, fate=["FAILURE"], body=["FAILURE"])
    worker = stage.worker()
    first, second = stage.claim(worker)
    stage.start(first, worker)
    tasks.finish(stage.tx, worker, [outcome.failed(first, ERROR, None)])
    stage.finish(worker, second, stage.end(second, stage.start(second, worker)))
    stage.run_to_the_end()


def member_overdue(stage: Stage) -> None:
    """A member runs past its hard limit."""
    send_chord(stage, fate=["FAILURE"], body=["FAILURE"])
    worker = stage.worker()
    first, *_ = stage.claim(worker)
    stage.start(first, worker)
    stage.rescue(worker, Ending.timed_out(first.id))
    stage.run_to_the_end()


def member_revoked(stage: Stage) -> None:
    """A waiting member is revoked."""
    send_chord(stage, fate=["REVOKED"], body=["FAILURE"])
    [[id]] = stage.connection.execute("select id::text from lavoro.waiting order by due_at limit 1").fetchall()
    stage.revoke(id)
    stage.run_to_the_end()


def member_deleted(stage: Stage) -> None:
    """An operator deletes a waiting member, though its body waits for it."""
    send_chord(stage, fate=[], body=["FAILURE"])
    [[id]] = stage.connection.execute("select id from lavoro.waiting order by due_at limit 1").fetchall()
    assert not changing.delete(stage.tx, [id]).done
    changing.delete(stage.tx, [id], cascade=True)
    stage.run_to_the_end()


def member_purged(stage: Stage) -> None:
    """A waiting member is deleted."""
    send_chord(stage, fate=[], body=["FAILURE"])
    stage.connection.execute(
        "update lavoro.waiting set queue = 'other' where due_at = (select min(due_at) from lavoro.waiting)"
    )
    stage.tx.run("purge_tasks", {"queues": texts(["other"])})
    stage.run_to_the_end()


def held_member_revoked(stage: Stage) -> None:
    """A member that is held itself is revoked."""
    blocker, barrier = message(), uuid.uuid4()
    member = message(place=Place(f'{{"{barrier}":0}}', None, 1, (blocker.id,)))
    body = message(place=Place(held_for=barrier, expects=1))
    details = {
        member.id: {"expect": ["REVOKED"], "awaits": [str(blocker.id)]},
        body.id: {"expect": ["FAILURE"], "awaits": [str(member.id)]},
    }
    stage.send_canvas([blocker, member, body], details)
    stage.revoke(str(member.id))
    stage.run_to_the_end()


def member_adds_another(stage: Stage) -> None:
    """A member of a chord adds a task to it, and the body waits for that, too."""
    added = message()
    send_chord(stage, more=[str(added.id)])
    [[barrier]] = stage.connection.execute("select id::text from lavoro.barrier").fetchall()
    worker = stage.worker()
    first, second = stage.claim(worker)
    token, later = stage.start(first, worker), stage.start(second, worker)
    stage.ledger.write("intent", id=str(added.id), sha=sha(1))
    stage.follow = Follow((added._replace(place=Place(json.dumps({barrier: None}))),))
    stage.finish(worker, first, stage.end(first, token))
    stage.follow = None
    stage.ledger.write("outcome", id=str(added.id), outcome="ok")
    stage.finish(worker, second, stage.end(second, later))
    while stage.connection.execute("select from lavoro.waiting").fetchall():
        stage.run_to_the_end()


def steps_block(stage: Stage) -> None:
    """A task waits for two steps of a chain, of which the second is not stored yet."""
    step = message()
    options = json.dumps({"chain": [{"task": "echo", "options": {"task_id": str(step.id)}}]})
    first = message(options=options)
    place = Place(None, None, 2, (first.id, step.id), None, ((), (first.id,)))
    blocked = message(place=place)
    stage.send_canvas([first], {first.id: {"expect": [*GOOD]}})
    worker = stage.worker()
    [job] = stage.claim(worker)
    token = stage.start(job, worker)
    awaits = [str(first.id), str(step.id)]
    stage.send_canvas([blocked], {blocked.id: {"expect": [*GOOD], "awaits": awaits}})
    stage.ledger.write("intent", id=str(step.id), sha=sha(1))
    stage.follow = Follow((step,), heir=step.id)
    stage.finish(worker, job, stage.end(job, token))
    stage.follow = None
    stage.ledger.write("outcome", id=str(step.id), outcome="ok")
    [job] = [job for job in stage.claim(worker) if job.id == step.id]
    stage.finish(worker, job, stage.end(job, stage.start(job, worker)))
    stage.run_to_the_end()


def member_sent_again(stage: Stage) -> None:
    """A task is sent with the place of a member, as a replay of it is."""
    send_chord(stage)
    [[barrier]] = stage.connection.execute("select id::text from lavoro.barrier").fetchall()
    stage.send_canvas([message(place=Place(f'{{"{barrier}":0}}'))], {})
    stage.run_to_the_end()
    stage.run_to_the_end()


def linked(play: Callable[[Stage], None]) -> Callable[[Stage], None]:
    """The same play, in which a task follows each outcome, and inherits its barriers."""

    def play_it(stage: Stage) -> None:
        following = message(id=uuid7())
        stage.ledger.write("intent", id=str(following.id), sha=sha(1))
        stage.follow = Follow((following,), following.id)
        play(stage)
        stage.ledger.write("outcome", id=str(following.id), outcome="ok")
        stage.follow = None
        stage.run_to_the_end()

    play_it.__name__ = f"{play.__name__}_linked"
    return play_it


def member_is_a_chain(stage: Stage) -> None:
    """The one member of a chord is a chain of two steps."""
    barrier, step = uuid.uuid4(), message(id=uuid7())
    first, held = message(place=Place(f'{{"{barrier}":0}}')), message(place=Place(held_for=barrier, expects=1))
    stage.send_canvas([first, held], {held.id: {"expect": [*GOOD], "awaits": [str(step.id)]}})
    stage.ledger.write("intent", id=str(step.id), sha=sha(1))
    stage.follow = Follow((step,), step.id)
    worker = stage.worker()
    [job] = stage.claim(worker)
    stage.finish(worker, job, stage.end(job, stage.start(job, worker)))
    stage.ledger.write("outcome", id=str(step.id), outcome="ok")
    stage.follow = None
    stage.run_to_the_end()
    stage.run_to_the_end()


def followed(play: Callable[[Stage], None]) -> Callable[[Stage], None]:
    """The same play, in which each outcome has messages that follow it, if only none."""

    def play_it(stage: Stage) -> None:
        stage.follow = Follow()
        play(stage)

    play_it.__name__ = f"{play.__name__}_followed"
    return play_it
