"""A failed member that is replayed opens its barrier anew: the body waits again, and starts once in each generation."""

from __future__ import annotations

import threading
import uuid

import pytest

from lavoro import Lavoro
from lavoro.inspector import Inspector
from lavoro.protocol import outcome
from lavoro.protocol.ids import uuid7
from lavoro.protocol.message import Job
from lavoro.protocol.place import Place
from lavoro.store import results, tasks
from lavoro.store.tx import Tx
from tests.inspector.walking import ERROR, chord
from tests.store.walk import message, rows, stage_of, stored, succeeded, take, value


def fail(tx: Tx, *jobs: Job) -> None:
    tasks.finish(tx, 1, [outcome.failed(job, ERROR, None) for job in jobs])


def succeed(tx: Tx, *jobs: Job) -> None:
    tasks.finish(tx, 1, [succeeded(job) for job in jobs])


def barrier(tx: Tx) -> tuple[int, bool]:
    """What is left of the only barrier, and whether it has ended."""
    [found] = rows(tx, "select remaining, ended_at is not null from lavoro.barrier")
    return found[0], found[1]


def test_the_body_starts_once_the_member_has_succeeded(tx: Tx, inspector: Inspector) -> None:
    members, body = chord(tx, members=3)
    one, two, three = take(tx)
    fail(tx, one)
    succeed(tx, two)
    assert (stored(tx, body).state, barrier(tx)[1]) == ("FAILURE", True)
    inspector.replay(str(one.id))
    assert (stage_of(tx, body), barrier(tx)) == ("held", (2, False))
    assert value(tx, "select reason from lavoro.tasks where id = %s", body) == "waits for 2 of 3 tasks"
    succeed(tx, three)
    [again] = take(tx)
    succeed(tx, again)
    [started] = take(tx)
    assert started.id == body
    succeed(tx, started)
    assert stored(tx, body).state == "SUCCESS"
    assert {state for [state] in rows(tx, "select state from lavoro.member")} == {"SUCCESS"}
    assert value(tx, "select count(*) from lavoro.member") == len(members)
    [attempt] = results.attempts(tx, body)
    assert (attempt.state, attempt.reason) == ("FAILURE", "replayed with a task of its header")
    assert "ChordError" in str(attempt.error)


def test_a_member_that_fails_again_fails_the_new_generation(tx: Tx, inspector: Inspector) -> None:
    _, body = chord(tx, members=2)
    one, two = take(tx)
    fail(tx, one)
    succeed(tx, two)
    for _ in range(2):
        inspector.replay(str(one.id))
        assert stage_of(tx, body) == "held"
        fail(tx, *take(tx))
        assert stored(tx, body).state == "FAILURE"
    assert value(tx, "select count(*) from lavoro.finished where id = %s", body) == 1
    assert value(tx, "select count(*) from lavoro.unhandled where id = %s", body) == 1
    inspector.replay(str(one.id))
    succeed(tx, *take(tx))
    assert [job.id for job in take(tx)] == [body]


def test_the_body_waits_until_no_failure_is_left(tx: Tx, inspector: Inspector) -> None:
    """Each failed member is replayed by itself; meanwhile the first one has succeeded."""
    _, body = chord(tx, members=3)
    jobs = take(tx)
    fail(tx, *jobs[:2])
    succeed(tx, jobs[2])
    inspector.replay(str(jobs[0].id))
    assert stage_of(tx, body) == "finished"
    succeed(tx, *take(tx))
    assert stored(tx, body).state == "FAILURE"
    inspector.replay(str(jobs[1].id))
    assert (stage_of(tx, body), barrier(tx)) == ("held", (1, False))
    succeed(tx, *take(tx))
    assert [job.id for job in take(tx)] == [body]


def test_all_failed_members_at_once(tx: Tx, inspector: Inspector) -> None:
    _, body = chord(tx, members=5)
    fail(tx, *take(tx))
    report = inspector.where(state="FAILURE").replay(batch=2)
    assert (report.done, report.skipped) == (5, 1)  # not the body itself
    assert stage_of(tx, body) == "held"
    succeed(tx, *take(tx))
    assert [job.id for job in take(tx)] == [body]


def test_a_chord_in_the_header_of_another(tx: Tx, inspector: Inspector) -> None:
    """Its body is a member in turn: both bodies wait again, and the upper one counts the lower one's end."""
    upper, lower, outer, inner, member = (uuid7() for _ in range(5))
    tasks.insert(
        tx,
        [
            message(id=outer, name="outer", options=f'{{"gathers":"{upper}"}}', place=Place(held_for=upper, expects=1)),
            message(
                id=inner, name="inner", options=f'{{"gathers":"{lower}"}}',
                place=Place(barriers=f'{{"{upper}": 0}}', held_for=lower, expects=1),
            ),
            message(id=member, place=Place(barriers=f'{{"{lower}": 0}}')),
        ],
    )  # fmt: skip
    fail(tx, *take(tx))
    assert [stored(tx, id).state for id in (inner, outer)] == ["FAILURE", "FAILURE"]
    inspector.replay(str(member))
    assert [stage_of(tx, id) for id in (inner, outer)] == ["held", "held"]
    for id in (member, inner, outer):
        [job] = take(tx)
        assert job.id == id
        succeed(tx, job)
    assert value(tx, "select count(*) from lavoro.barrier where remaining <> 0 or ended_at is null") == 0


def test_the_steps_behind_a_body_come_again(tx: Tx, inspector: Inspector) -> None:
    header, body, last = uuid7(), uuid7(), uuid7()
    options = f'{{"gathers":"{header}","chain":[{{"task":"test.next","options":{{"task_id":"{last}"}}}}]}}'
    tasks.insert(
        tx,
        [
            message(id=body, options=options, place=Place(held_for=header, expects=1)),
            message(place=Place(barriers=f'{{"{header}": 0}}')),
        ],
    )
    [job] = take(tx)
    fail(tx, job)
    assert stored(tx, last).state == "FAILURE"
    inspector.replay(str(job.id))
    assert (stage_of(tx, body), stage_of(tx, last)) == ("held", None)


@pytest.mark.parametrize("policy", ["wait", "run"])
def test_other_policies(tx: Tx, inspector: Inspector, policy: str) -> None:
    """A barrier that is still open takes the member back; a body that runs in spite of failures has had its start."""
    header, body = uuid7(), uuid7()
    place = Place(held_for=header, expects=2, policy=policy)
    tasks.insert(
        tx,
        [
            message(id=body, options=f'{{"gathers":"{header}"}}', place=place),
            *(message(place=Place(barriers=f'{{"{header}": {index}}}')) for index in range(2)),
        ],
    )
    one, two = take(tx)
    fail(tx, one)
    assert (stage_of(tx, body), barrier(tx)) == ("held", (1, False))
    inspector.replay(str(one.id))
    assert barrier(tx) == (2, False)
    fail(tx, *take(tx))
    succeed(tx, two)
    if policy == "wait":
        inspector.replay(str(one.id))
        assert (stage_of(tx, body), barrier(tx)) == ("held", (1, False))
        return
    [started] = take(tx)
    assert started.id == body
    succeed(tx, started)
    inspector.replay(str(one.id))
    assert (stored(tx, body).state, barrier(tx)[1]) == ("SUCCESS", True)
    succeed(tx, *take(tx))
    assert take(tx) == []


@pytest.mark.parametrize("state", ["REVOKED", "FAILURE"])
def test_a_body_that_was_ended_by_hand_stays_so(app: Lavoro, tx: Tx, inspector: Inspector, state: str) -> None:
    _, body = chord(tx, members=2)
    one, two = take(tx)
    if state == "REVOKED":
        inspector.revoke(str(body))
    else:
        app.fail(str(body), ValueError("no longer wanted"))
    fail(tx, one)
    inspector.replay(str(one.id))
    succeed(tx, two, *take(tx))
    assert (stored(tx, body).state, take(tx)) == (state, [])


def test_a_member_that_ends_while_another_is_replayed(app: Lavoro, tx: Tx, inspector: Inspector) -> None:
    """Both lock the barrier; in whatever order they come, the body starts once."""
    for _ in range(10):
        _, body = chord(tx, members=2)
        one, two = take(tx)
        fail(tx, one)
        others = [app.database.open("lavoro-test") for _ in range(2)]
        together = threading.Barrier(2)

        def end(tx: Tx, job: Job = two, together: threading.Barrier = together) -> None:
            together.wait(60)
            succeed(tx, job)

        def replay(tx: Tx, id: uuid.UUID = one.id, together: threading.Barrier = together) -> None:
            together.wait(60)
            inspector.replay(str(id))

        threads = [threading.Thread(target=call, args=(tx,)) for call, tx in zip((end, replay), others, strict=True)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        for other in others:
            other.connection.close()
        assert stage_of(tx, body) == "held"
        succeed(tx, *take(tx))
        [started] = take(tx)
        assert started.id == body
        succeed(tx, started)
