"""Actions on one task: what they do in each stage, and what they refuse."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any

import pytest

from lavoro import Lavoro
from lavoro.exceptions import InspectorError, QueueNotFound, TaskNotFound, WrongState
from lavoro.inspector import Inspector
from lavoro.protocol import outcome
from lavoro.protocol.ids import uuid7
from lavoro.store import changing, results, tasks
from lavoro.store.tx import Tx
from tests.inspector.walking import ERROR, chord, failed
from tests.store.walk import heard, lane, message, rows, send, sent_and_taken, stage_of, stored, succeeded, take, value


def test_run_now(tx: Tx, inspector: Inspector) -> None:
    id = send(tx, countdown=3600.0)
    ears = inspector._app.database.open("ears").connection
    ears.execute("listen lavoro_wake")
    done = inspector.run_now(str(id))
    assert (done.id, done.action, done.stage, done.text) == (str(id), "run_now", "waiting", "due now")
    assert heard(ears) == ["back:celery"]
    ears.close()
    assert [job.id for job in take(tx)] == [id]


def test_run_now_keeps_the_place_of_a_due_task(tx: Tx, inspector: Inspector) -> None:
    first, second = send(tx), send(tx)
    inspector.run_now(str(first))
    assert [job.id for job in take(tx)] == [first, second]


@pytest.mark.parametrize("terminate", [False, True])
def test_revoke(tx: Tx, inspector: Inspector, terminate: bool) -> None:
    waiting, running = send(tx, countdown=60.0), sent_and_taken(tx)
    _, held = chord(tx)
    assert inspector.revoke(str(waiting)).text == "revoked"
    assert inspector.revoke(str(held)).stage == "held"
    assert [stored(tx, id).state for id in (waiting, held)] == ["REVOKED", "REVOKED"]
    done = inspector.revoke(str(running.id), terminate=terminate)
    assert (done.stage, done.state, done.text) == ("running", "STARTED", "asked to end, or not to start again")
    expected = f'{{"terminate": {"true" if terminate else "false"}, "signal": "SIGTERM"}}'
    assert value(tx, "select cancel from lavoro.running") == expected


def test_delete(tx: Tx, inspector: Inspector) -> None:
    waiting, done = send(tx), failed(tx, queue="other")
    for id in (waiting, done):
        inspector.delete(str(id))
        assert stage_of(tx, id) is None


def test_a_task_that_others_wait_for_is_deleted_only_with_cascade(tx: Tx, inspector: Inspector) -> None:
    [[member], body] = chord(tx)
    with pytest.raises(
        WrongState, match=r"it is waiting \(PENDING\); others wait for it, and would fail: cascade=True"
    ):
        inspector.delete(str(member))
    assert [stage_of(tx, id) for id in (member, body)] == ["waiting", "held"]
    inspector.delete(str(member), cascade=True)
    found = stored(tx, body)
    assert (stage_of(tx, member), found.state) == (None, "FAILURE")
    assert "ChordError" in str(found.result)


def test_a_held_task_that_others_wait_for(tx: Tx, inspector: Inspector) -> None:
    _, body = chord(tx)
    behind = tx.cursor.execute("select lavoro.enqueue('behind', blockers => %s)", ([body],)).fetchall()[0][0]
    with pytest.raises(WrongState, match="others wait for it"):
        inspector.delete(str(body))
    assert stage_of(tx, body) == "held"
    inspector.delete(str(body), cascade=True)
    assert (stage_of(tx, body), stored(tx, behind).state) == (None, "FAILURE")


def test_a_step_with_others_behind_it(tx: Tx, inspector: Inspector) -> None:
    last = uuid7()
    step = send(tx, options=f'{{"chain":[{{"task":"test.next","options":{{"task_id":"{last}"}}}}]}}')
    with pytest.raises(WrongState, match="others wait for it"):
        inspector.delete(str(step))
    inspector.delete(str(step), cascade=True)
    assert (stage_of(tx, step), stored(tx, last).state) == (None, "REVOKED")


def test_replay(tx: Tx, inspector: Inspector) -> None:
    id = failed(tx, queue="mail", priority=3, kwargs='{"x":1}', options='{"root_id":"r"}')
    sent = stored(tx, id).created
    assert inspector.replay(str(id)).text == "replayed"
    found = stored(tx, id)
    assert (found.stage, found.state, found.retries, found.attempt, found.created) == ("waiting", None, 0, 1, sent)
    [attempt] = results.attempts(tx, id)
    assert (attempt.number, attempt.state, attempt.worker, attempt.reason, attempt.traceback) == (
        1, "FAILURE", "node@test", "replayed", "Traceback",
    )  # fmt: skip
    assert "ValueError" in str(attempt.error)
    [job] = take(tx, lane("mail", 3))
    assert (job.id, job.attempt, job.kwargs, job.options, job.revoked) == (id, 2, '{"x":1}', '{"root_id":"r"}', False)
    tasks.finish(tx, 1, [succeeded(job)])
    assert (stored(tx, id).state, stored(tx, id).attempt) == ("SUCCESS", 2)
    assert value(tx, "select count(*) from lavoro.finished") == 1


def test_a_revoked_task_that_is_replayed_is_not_revoked_again(tx: Tx, inspector: Inspector) -> None:
    job = sent_and_taken(tx)
    tasks.revoke(tx, [job.id], cancel="{}")
    tasks.finish(tx, 1, [outcome.revoked(job, ERROR)])
    inspector.replay(str(job.id))
    assert [again.revoked for again in take(tx)] == [False]


def test_a_success_is_replayed_only_if_asked(tx: Tx, inspector: Inspector) -> None:
    job = sent_and_taken(tx)
    tasks.finish(tx, 1, [succeeded(job)])
    with pytest.raises(
        WrongState, match=r"cannot replay task .*: it is finished \(SUCCESS\); only a finished task that"
    ):
        inspector.replay(str(job.id))
    inspector.replay(str(job.id), state="SUCCESS")
    assert stage_of(tx, job.id) == "waiting"
    assert results.attempts(tx, job.id)[0].error is None


def test_the_steps_behind_a_replayed_one_come_again(tx: Tx, inspector: Inspector) -> None:
    last = uuid7()
    step = failed(tx, options=f'{{"chain":[{{"task":"test.next","options":{{"task_id":"{last}"}}}}]}}')
    assert stored(tx, last).state == "FAILURE"
    with pytest.raises(WrongState, match="its call is not stored, because it was never sent: replay the step"):
        inspector.replay(str(last))
    inspector.replay(str(step))
    assert stage_of(tx, last) is None


def test_a_body_whose_header_has_failed_is_not_replayed(tx: Tx, inspector: Inspector) -> None:
    _, body = chord(tx)
    tasks.finish(tx, 1, [outcome.failed(job, ERROR, None) for job in take(tx)])
    with pytest.raises(WrongState, match="its header has failed, .*: replay the tasks of its header that failed"):
        inspector.replay(str(body))


def test_a_body_that_failed_by_itself_is_replayed_with_its_results(tx: Tx, inspector: Inspector) -> None:
    _, body = chord(tx)
    tasks.finish(tx, 1, [succeeded(job) for job in take(tx)])
    [job] = take(tx)
    tasks.finish(tx, 1, [outcome.failed(job, ERROR, None)])
    inspector.replay(str(body))
    assert [(job.id, job.attempt) for job in take(tx)] == [(body, 2)]
    assert value(tx, "select result::text from lavoro.member") == "3"


def test_a_replay_wakes_a_sleeping_worker(tx: Tx, inspector: Inspector) -> None:
    id = failed(tx)
    ears = inspector._app.database.open("ears").connection
    ears.execute("listen lavoro_wake")
    ears.execute("select pg_advisory_lock_shared(hashtextextended('lavoro_queue:celery', 0))")
    inspector.replay(str(id))
    assert heard(ears) == ["due:0:celery"]
    ears.close()


def test_an_id_in_use_is_not_replayed(tx: Tx, inspector: Inspector) -> None:
    id = failed(tx)
    tasks.insert(tx, [message(id=id)])
    assert changing.replay(tx, [id, id]).done == frozenset()
    assert value(tx, "select count(*) from lavoro.finished") == 1


def test_changes_of_waiting_and_held_tasks(tx: Tx, inspector: Inspector) -> None:
    _, held = chord(tx, queue="elsewhere")
    id = send(tx)
    at = dt.datetime.now(dt.timezone.utc).replace(microsecond=0) + dt.timedelta(hours=3)
    for each in (id, held):
        assert inspector.move(str(each), "mail").text == "moved to mail"
        assert inspector.reprioritise(str(each), 7).text == "given the priority 7"
        assert inspector.reschedule(str(each), at).action == "reschedule"
    query = "select queue, priority, due_at from lavoro.tasks where id = any (%s)"
    assert rows(tx, query, [id, held]) == [("mail", 7, at), ("mail", 7, at)]
    inspector.reschedule(str(id), dt.timedelta(seconds=-5))
    [job] = take(tx, lane("mail", 7))
    assert job.id == id


def test_a_task_for_later_keeps_its_time(tx: Tx, inspector: Inspector) -> None:
    _, held = chord(tx, countdown=0.0)
    for id in (send(tx, countdown=3600.0), held):
        before = value(tx, "select due_at from lavoro.tasks where id = %s", id)
        inspector.move(str(id), "mail")
        inspector.reprioritise(str(id), 3)
        assert value(tx, "select due_at from lavoro.tasks where id = %s", id) == before


def test_a_queue_that_may_not_be_used(app: Lavoro, tx: Tx, inspector: Inspector) -> None:
    app.conf.task_create_missing_queues = False
    with pytest.raises(QueueNotFound, match="there is no queue 'nowhere': task_queues has celery"):
        inspector.move(str(send(tx)), "nowhere")


def every(inspector: Inspector) -> dict[str, Any]:
    return {
        "run_now": inspector.run_now, "revoke": inspector.revoke, "delete": inspector.delete,
        "replay": inspector.replay, "move": lambda id: inspector.move(id, "q"),
        "reprioritise": lambda id: inspector.reprioritise(id, 1),
        "reschedule": lambda id: inspector.reschedule(id, dt.timedelta(hours=1)),
    }  # fmt: skip


ALLOWED = {
    "waiting": {"run_now", "revoke", "delete", "move", "reprioritise", "reschedule"},
    "scheduled": {"run_now", "revoke", "delete", "move", "reprioritise", "reschedule"},
    "held": {"revoke", "delete", "move", "reprioritise", "reschedule"},
    "running": {"revoke"},
    "failed": {"delete", "replay"},
    "revoked": {"delete", "replay"},
    "succeeded": {"delete"},
}


@pytest.mark.parametrize("kind", ALLOWED)
def test_every_action_on_every_state(tx: Tx, inspector: Inspector, kind: str) -> None:
    """An action that makes no sense changes nothing, and its error says the state."""

    def made() -> uuid.UUID:
        match kind:
            case "waiting" | "scheduled":
                return send(tx, countdown=60.0 if kind == "scheduled" else 0.0)
            case "held":
                return chord(tx)[1]
            case "running":
                return sent_and_taken(tx, queue=str(uuid7())).id
            case "failed":
                return failed(tx, queue=str(uuid7()))
            case "revoked":
                id = send(tx)
                tasks.revoke(tx, [id], cancel="{}")
                return id
        job = sent_and_taken(tx, queue=str(uuid7()))
        tasks.finish(tx, 1, [succeeded(job)])
        return job.id

    for name, action in every(inspector).items():
        id = made()
        before = stored(tx, id)
        if name in ALLOWED[kind]:
            action(str(id))
            continue
        with pytest.raises(WrongState, match=f"task {id}: it is {before.stage} ") as raised:
            action(str(id))
        assert (raised.value.stage, raised.value.state) == (before.stage, before.state or raised.value.state)
        assert stored(tx, id) == before


def test_an_unknown_id(tx: Tx, inspector: Inspector) -> None:
    for action in every(inspector).values():
        with pytest.raises(TaskNotFound, match="^no task 'nothing' is stored: it was never sent, or its result has"):
            action("nothing")
    assert rows(tx, "select 1 from lavoro.revoked") == []


WRONG: list[tuple[str, Any, str]] = [
    ("move", "", "queue is the name of a queue, not ''"),
    ("move", 7, "queue is the name of a queue, not 7"),
    ("reprioritise", 99_999, "priority is a whole number, -32768 to 32767, not 99999"),
    ("reschedule", 5, "eta is a time with a zone, or a timedelta from now, not 5"),
    ("reschedule", dt.datetime(2026, 1, 1), "eta is a time with a zone"),
]


@pytest.mark.parametrize(("action", "argument", "text"), WRONG)
def test_wrong_values(tx: Tx, inspector: Inspector, action: str, argument: Any, text: str) -> None:
    with pytest.raises(InspectorError, match=text):
        getattr(inspector, action)(str(send(tx)), argument)
