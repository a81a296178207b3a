"""Barriers: the tasks that they hold start or end once their members have ended, and tasks that follow others."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
from psycopg.errors import InvalidParameterValue

from lavoro import states
from lavoro.exceptions import ChordError
from lavoro.protocol import outcome
from lavoro.protocol.ids import uuid7
from lavoro.protocol.message import Job, Message
from lavoro.protocol.outcome import Finished
from lavoro.protocol.place import Follow, Place
from lavoro.store import members, tasks
from lavoro.store.arrays import integers, optional_uuids
from lavoro.store.columns import of_canvas
from lavoro.store.statements import numbered
from lavoro.store.tx import Tx
from tests.store.walk import message, rows, send, stage_of, stored, succeeded, take, value

ERROR = '{"exc_type":"ValueError","exc_message":["boom"],"exc_module":"builtins"}'


def chord(size: int, *, policy: str | None = None, body: dict[str, Any] | None = None) -> list[Message]:
    """The messages of a chord: its members, then its body."""
    barrier = uuid7()
    members = [message(place=Place(barriers=json.dumps({str(barrier): index}))) for index in range(size)]
    place = Place(held_for=barrier, expects=size, policy=policy)
    return [*members, message(**{"name": "test.body", "place": place, **(body or {})})]


def failed(job: Job) -> Finished:
    return outcome.failed(job, ERROR, None)


def following(ended: Finished, *messages: Message, **follow: Any) -> Finished:
    return ended._replace(follow=Follow(messages=messages, **follow))


def test_a_body_waits_until_all_members_have_succeeded(tx: Tx) -> None:
    *_, body = sent = chord(3)
    tasks.insert(tx, sent)
    assert rows(tx, "select task_id, size, remaining from lavoro.barrier") == [(body.id, 3, 3)]
    first, *others = take(tx)
    assert tasks.finish(tx, 1, [succeeded(first, "10")]) == 1
    assert rows(tx, "select stage, reason from lavoro.tasks where name = 'test.body'") == [
        ("held", "waits for 2 of 3 tasks")
    ]
    assert tasks.finish(tx, 1, [succeeded(job, "20") for job in others]) == 2
    assert [job.id for job in take(tx)] == [body.id]
    assert rows(tx, "select index, state, result::text from lavoro.member order by index") == [
        (0, "SUCCESS", "10"), (1, "SUCCESS", "20"), (2, "SUCCESS", "20"),
    ]  # fmt: skip


@pytest.mark.parametrize("member", ["another barrier", "no index"])
def test_a_canvas_that_stands_alone_has_members_of_its_own_barriers_only(tx: Tx, member: str) -> None:
    """Any sender may call the function: a member of another barrier would end that one too early."""
    *others, body = chord(2)
    columns = of_canvas([*others, body])
    assert columns is not None
    assert (*columns, "always") == numbered("insert_canvas")[1], "they are sent in this order"
    if member == "no index":
        columns["indexes"] = integers([0, None, None])
    else:
        columns["held_for"] = optional_uuids([None, None, uuid7()])
    with pytest.raises(InvalidParameterValue, match="barrier .* is not made with this canvas"):
        tx.execute("insert_canvas", columns | {"always": False})
    assert value(tx, "select count(*) from lavoro.tasks") == 0


def test_a_canvas_that_does_not_stand_alone_has_no_short_form(tx: Tx) -> None:
    member, body = message(place=Place(f'{{"{uuid7()}":0}}')), message(place=Place(held_for=uuid7()))
    blocker = message()
    blocked = message(place=Place(None, None, 1, (blocker.id,)))
    for each in (member, body, blocked):
        assert of_canvas([*chord(2), each]) is None
    assert of_canvas([*chord(2), *chord(1), blocker]) is not None


def test_an_id_that_is_taken_is_stored_once_and_counted(tx: Tx) -> None:
    member, body = chord(1)
    tasks.insert(tx, [member._replace(place=None)])
    tasks.insert(tx, [member, body])
    tasks.finish(tx, 1, [succeeded(job) for job in take(tx)])
    assert [job.id for job in take(tx)] == [body.id]


def test_the_next_step_of_a_chain_is_stored_with_the_outcome(tx: Tx) -> None:
    send(tx)
    [job] = take(tx)
    step = message()
    assert tasks.finish(tx, 1, [following(succeeded(job), step)]) == 1
    assert [job.id for job in take(tx)] == [step.id]


def test_a_refused_outcome_is_stored_without_its_messages(tx: Tx) -> None:
    send(tx)
    [job] = take(tx)
    lost = job._replace(attempt=2)
    assert tasks.finish(tx, 1, [following(succeeded(lost), message())]) == 0
    assert value(tx, "select count(*) from lavoro.tasks") == 1


def test_a_chain_hands_its_membership_to_its_last_step(tx: Tx) -> None:
    first, other, body = chord(2)
    tasks.insert(tx, [first, other, body])
    jobs = {job.id: job for job in take(tx)}
    step = message()
    ends = [following(succeeded(jobs[first.id], "1"), step, heir=step.id), succeeded(jobs[other.id], "2")]
    assert tasks.finish(tx, 1, ends) == 2
    assert stage_of(tx, body.id) == "held"
    [job] = take(tx)
    assert tasks.finish(tx, 1, [succeeded(job, "11")]) == 1
    assert [job.id for job in take(tx)] == [body.id]
    assert rows(tx, "select task_id, result::text from lavoro.member order by index") == [
        (step.id, "11"), (other.id, "2"),
    ]  # fmt: skip


def test_a_replaced_task_goes_on_with_its_barriers_and_attempts(tx: Tx) -> None:
    first, body = chord(1)
    tasks.insert(tx, [first, body])
    [job] = take(tx)
    again = message(id=first.id, name="test.instead")
    assert tasks.finish(tx, 1, [following(succeeded(job), again, replaced=True)]) == 1
    assert rows(tx, "select state from lavoro.finished") == []
    assert rows(tx, "select number, state from lavoro.attempt") == [(1, "REPLACED")]
    [second] = take(tx)
    assert (second.id, second.name, second.attempt) == (first.id, "test.instead", 2)
    assert tasks.finish(tx, 1, [succeeded(job)]) == 0, "the start that was replaced"
    assert tasks.finish(tx, 1, [succeeded(second, "5")]) == 1
    assert [job.id for job in take(tx)] == [body.id]


def test_the_last_step_of_a_chain_that_replaces_a_task_goes_on_with_its_attempts(tx: Tx) -> None:
    """Else the outcome of the replaced start, which is repeated after a lost answer, would be accepted for it."""
    first, body = chord(1)
    tasks.insert(tx, [first, body])
    [job] = take(tx)
    step, last = message(), message(id=first.id, options='{"replaced_task_nesting":1}')
    replaced = following(succeeded(job), step, heir=step.id, replaced=True)
    assert tasks.finish(tx, 1, [replaced]) == 1
    [other] = take(tx)
    assert tasks.finish(tx, 1, [following(succeeded(other), last, heir=last.id)]) == 1
    [job] = take(tx)
    assert (job.id, job.attempt) == (first.id, 2)
    assert tasks.finish(tx, 1, [replaced]) == 0
    assert tasks.finish(tx, 1, [succeeded(job, "5")]) == 1
    assert [job.id for job in take(tx)] == [body.id]


def test_the_body_fails_at_the_first_failure_of_a_member(tx: Tx) -> None:
    step = uuid.uuid4()
    options = json.dumps({"chain": [{"task": "test.step", "options": {"task_id": str(step)}}]})
    *members, body = chord(3, body={"options": options})
    tasks.insert(tx, [*members, body])
    jobs = {job.id: job for job in take(tx)}
    assert tasks.finish(tx, 1, [succeeded(jobs[members[0].id])]) == 1
    assert tasks.finish(tx, 1, [failed(jobs[members[1].id])]) == 1
    for id in (body.id, step):
        found = stored(tx, id)
        assert (found.stage, found.state) == ("finished", states.FAILURE)
        assert json.loads(found.result or "") == {
            "exc_type": "ChordError",
            "exc_message": [f"Dependency {members[1].id} raised ValueError('boom')"],
            "exc_module": "lavoro.exceptions",
        }
    assert rows(tx, "select id, name from lavoro.unhandled") == [(body.id, "test.body")]
    assert tasks.finish(tx, 1, [succeeded(jobs[members[2].id])]) == 1
    assert take(tx) == []
    assert value(tx, "select count(*) from lavoro.member") == 3


def test_a_body_that_fails_counts_for_its_own_barrier(tx: Tx) -> None:
    _, outer_body = outer = chord(1)
    member, body = chord(1, body={"place": None})
    [barrier] = json.loads((member.place and member.place.barriers) or "")
    inner = outer[0].place
    assert inner is not None
    body = body._replace(place=Place(barriers=inner.barriers, held_for=uuid.UUID(barrier), expects=1))
    tasks.insert(tx, [member, body, outer_body])
    [job] = take(tx)
    assert tasks.finish(tx, 1, [failed(job)]) == 1
    assert stored(tx, outer_body.id).state == states.FAILURE
    assert f"Dependency {body.id} raised ChordError(" in str(stored(tx, outer_body.id).result)


def test_a_requeued_member_is_not_counted(tx: Tx) -> None:
    member, body = chord(1)
    tasks.insert(tx, [member, body])
    [job] = take(tx)
    assert tasks.requeue(tx, 1, [outcome.retrying(job, countdown=0.0)]) == 1
    assert value(tx, "select remaining from lavoro.barrier") == 1
    [job] = take(tx)
    assert tasks.finish(tx, 1, [succeeded(job)]) == 1
    assert [job.id for job in take(tx)] == [body.id]


def test_a_canvas_that_is_sent_again_is_stored_once(tx: Tx) -> None:
    sent = chord(2)
    tasks.insert(tx, sent)
    tasks.insert(tx, sent, repeated=True)
    assert rows(tx, "select size, remaining from lavoro.barrier") == [(2, 2)]
    tasks.finish(tx, 1, [succeeded(job) for job in take(tx)])
    tasks.insert(tx, sent, repeated=True)
    assert len(take(tx)) == 1
    tasks.insert(tx, sent, repeated=True)
    assert value(tx, "select count(*) from lavoro.waiting") == 0


def test_a_member_adds_another_one_to_its_barrier(tx: Tx) -> None:
    member, body = chord(1)
    tasks.insert(tx, [member, body])
    [barrier] = json.loads((member.place and member.place.barriers) or "")
    [job] = take(tx)
    added = message(place=Place(barriers=json.dumps({barrier: None})))
    assert tasks.finish(tx, 1, [following(succeeded(job, "1"), added)]) == 1
    [job] = take(tx)
    assert job.id == added.id
    assert tasks.finish(tx, 1, [succeeded(job, "2")]) == 1
    assert [job.id for job in take(tx)] == [body.id]
    assert rows(tx, "select index, result::text from lavoro.member order by index") == [(0, "1"), (1, "2")]


def test_members_without_an_index_join_the_barrier_that_is_made_with_them(tx: Tx) -> None:
    """They get the numbers behind those that the caller gave, and the body waits for them too."""
    *sent, body = chord(2)
    [barrier] = json.loads((sent[0].place and sent[0].place.barriers) or "")
    more = [message(place=Place(barriers=json.dumps({barrier: None}))) for _ in range(2)]
    tasks.insert(tx, [more[0], *sent, body, more[1]])
    assert rows(tx, "select size, remaining from lavoro.barrier") == [(4, 4)]
    jobs = {job.id: job for job in take(tx)}
    for each in (*sent, more[0]):
        assert tasks.finish(tx, 1, [succeeded(jobs[each.id])]) == 1
    assert stage_of(tx, body.id) == "held"
    assert tasks.finish(tx, 1, [succeeded(jobs[more[1].id])]) == 1
    assert [job.id for job in take(tx)] == [body.id]
    assert rows(tx, "select index, task_id from lavoro.member order by index") == [
        (0, sent[0].id), (1, sent[1].id), (2, more[0].id), (3, more[1].id),
    ]  # fmt: skip


@pytest.mark.parametrize("kept", [True, False])
def test_a_replay_of_a_failed_member_changes_nothing_for_the_body(tx: Tx, kept: bool) -> None:
    """Its barrier has ended. So nothing counts the replay, whether it names its place in the chord or not."""
    first, second, body = chord(2)
    tasks.insert(tx, [first, second, body])
    jobs = {job.id: job for job in take(tx)}
    tasks.finish(tx, 1, [failed(jobs[first.id])])
    assert stored(tx, body.id).state == states.FAILURE
    tasks.insert(tx, [first if kept else first._replace(place=None)])
    [again] = take(tx)
    tasks.finish(tx, 1, [succeeded(again), succeeded(jobs[second.id])])
    assert (stored(tx, first.id).state, stored(tx, body.id).state) == (states.SUCCESS, states.FAILURE)
    assert rows(tx, "select index, state from lavoro.member order by index") == [(0, "FAILURE"), (1, "SUCCESS")]
    assert (take(tx), value(tx, "select size from lavoro.barrier")) == ([], 2)


@pytest.mark.parametrize("replay_first", [True, False])
def test_a_task_with_the_index_of_a_member_stands_for_it(tx: Tx, replay_first: bool) -> None:
    """The first of the two that ends counts, and the body waits for no more than the barrier had."""
    first, second, body = chord(2)
    tasks.insert(tx, [first, second, body])
    replay = message(place=first.place)
    tasks.insert(tx, [replay])
    assert rows(tx, "select size, remaining from lavoro.barrier") == [(2, 2)]
    jobs = {job.id: job for job in take(tx)}
    one, other = (replay, first) if replay_first else (first, replay)
    tasks.finish(tx, 1, [succeeded(jobs[one.id], "1")])
    tasks.finish(tx, 1, [failed(jobs[other.id])])
    tasks.finish(tx, 1, [succeeded(jobs[second.id], "2")])
    assert [job.id for job in take(tx)] == [body.id]
    assert rows(tx, "select task_id, result::text from lavoro.member order by index") == [
        (one.id, "1"), (second.id, "2"),
    ]  # fmt: skip


def test_a_body_reads_the_results_of_its_members_in_their_order(tx: Tx) -> None:
    *sent, body = chord(4, policy="run")
    tasks.insert(tx, [*sent, body])
    jobs = {job.id: job for job in take(tx)}
    ends = [
        succeeded(jobs[sent[0].id], '{"a":1}'),
        succeeded(jobs[sent[1].id], '"application/x-python-serialize"')._replace(payload=b"pickle"),
        failed(jobs[sent[2].id]),
        succeeded(jobs[sent[3].id], None),
    ]
    assert tasks.finish(tx, 1, ends[::-1]) == 4
    assert [job.id for job in take(tx)] == [body.id]
    barrier = body.place and body.place.held_for
    assert barrier is not None
    found = members.gather(tx, barrier, limit=1000)
    assert json.loads(found.results) == [{"a": 1}, None, None, None]
    assert found.others == (
        members.Member(1, sent[1].id, "SUCCESS", '"application/x-python-serialize"', b"pickle"),
        members.Member(2, sent[2].id, "FAILURE", ERROR, None),
    )
    with pytest.raises(ChordError, match=f"{found.size} bytes, and lavoro_max_gathered is {found.size - 1}"):
        members.gather(tx, barrier, limit=found.size - 1)


def test_a_member_that_ends_alone_is_counted_by_the_short_form(tx: Tx) -> None:
    *sent, body = chord(2)
    tasks.insert(tx, [*sent, body])
    for job in take(tx):
        assert tasks.finish(tx, 1, [succeeded(job)]) == 1
    assert "finish_task" in tx.prepared
    assert [job.id for job in take(tx)] == [body.id]
