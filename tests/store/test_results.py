"""Reading: a task is found wherever it is, as AsyncResult and as SQL see it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

from lavoro.protocol import outcome
from lavoro.protocol.ids import uuid7
from lavoro.store import results, tasks
from lavoro.store.results import StoredTask
from lavoro.store.tx import Tx
from tests.store.walk import message, rows, send, sent_and_taken, stored, succeeded, take, value


def test_an_unknown_task(tx: Tx) -> None:
    assert results.fetch(tx, uuid7()) is None


def test_a_waiting_task(tx: Tx) -> None:
    id = send(tx, queue="q", kwargs='{"x":1}', options='{"shadow":"s"}')
    created = value(tx, "select created_at from lavoro.waiting")
    assert results.fetch(tx, id) == StoredTask(
        stage="waiting", state=None, result=None, result_payload=None, traceback=None, name="test.add", args="[1,2]",
        kwargs='{"x":1}', options='{"shadow":"s"}', payload=None, queue="q", retries=0, attempt=0, worker_id=None,
        worker=None, pid=None, created=created, started=None, finished=None, runtime=None, children=None, reason=None,
    )  # fmt: skip


def test_a_running_task(tx: Tx) -> None:
    job = sent_and_taken(tx)
    [(created, started)] = rows(tx, "select created_at, started_at from lavoro.running")
    found = stored(tx, job.id)
    assert found == StoredTask(
        stage="running", state=None, result=None, result_payload=None, traceback=None, name="test.add", args="[1,2]",
        kwargs=None, options=None, payload=None, queue="celery", retries=0, attempt=1, worker_id=1, worker="node@test",
        pid=value(tx, "select pid from lavoro.worker where id = 1"), created=created, started=started,
        finished=None, runtime=None, children=None, reason=None,
    )  # fmt: skip
    tasks.store_progress(tx, 1, job, state="HALF", meta='{"done":0.5}')
    assert (stored(tx, job.id).state, stored(tx, job.id).result) == ("HALF", '{"done":0.5}')


def test_a_finished_task(tx: Tx) -> None:
    job = sent_and_taken(tx)
    tasks.finish(tx, 1, [outcome.succeeded(job, '"x"', 0.25, payload=b"\x00", children='["c"]')])
    [(created, started, finished)] = rows(tx, "select created_at, started_at, finished_at from lavoro.finished")
    assert stored(tx, job.id) == StoredTask(
        stage="finished", state="SUCCESS", result='"x"', result_payload=b"\x00", traceback=None, name="test.add",
        args="[1,2]", kwargs=None, options=None, payload=None, queue="celery", retries=0, attempt=1, worker_id=1,
        worker="node@test", pid=None, created=created, started=started, finished=finished, runtime=0.25,
        children='["c"]', reason=None,
    )  # fmt: skip


def test_a_task_that_waits_for_another_try_shows_what_went_wrong_last(tx: Tx) -> None:
    job = sent_and_taken(tx)
    for number in (1, 2):
        error = f'{{"exc_type":"E{number}"}}'
        tasks.requeue(tx, 1, [outcome.retrying(job, countdown=0.0, reason=f"try {number}", error=error, traceback="T")])
        found = stored(tx, job.id)
        assert (found.state, found.result, found.traceback) == ("RETRY", error, "T")
        assert (found.retries, found.attempt, found.reason) == (number, number, f"try {number}")
        [job] = take(tx)


def test_an_id_that_was_sent_again_shows_its_last_outcome(tx: Tx) -> None:
    first = sent_and_taken(tx)
    tasks.finish(tx, 1, [outcome.failed(first, '{"exc_type":"E"}', None)])
    again = sent_and_taken(tx, id=first.id)
    tasks.finish(tx, 1, [succeeded(again, "2")])
    assert (stored(tx, first.id).state, stored(tx, first.id).result) == ("SUCCESS", "2")


def test_an_outcome_can_be_forgotten(tx: Tx) -> None:
    job = sent_and_taken(tx)
    assert not results.forget(tx, job.id)
    tasks.finish(tx, 1, [succeeded(job)])
    assert results.forget(tx, job.id)
    assert results.fetch(tx, job.id) is None


# SQL


def test_the_view_shows_every_task_with_its_state(tx: Tx) -> None:
    jobs = [sent_and_taken(tx) for _ in range(6)]
    plain, custom, success, failure, retry, released = jobs
    tasks.store_progress(tx, 1, custom, state="HALF", meta='{"done":0.5}')
    tasks.finish(tx, 1, [succeeded(success, "3"), outcome.failed(failure, '{"exc_type":"E"}', "Trace")])
    tasks.requeue(tx, 1, [outcome.retrying(retry, countdown=60.0, reason="try 1"), outcome.released(released)])
    tasks.revoke(tx, [plain.id], cancel="cancelled")
    columns = "id, stage, state, result::text, traceback, reason"
    assert set(rows(tx, f"select {columns} from lavoro.tasks")) == {
        (plain.id, "running", "STARTED", None, None, "cancelled"),
        (custom.id, "running", "HALF", '{"done":0.5}', None, None),
        (success.id, "finished", "SUCCESS", "3", None, None),
        (failure.id, "finished", "FAILURE", '{"exc_type":"E"}', "Trace", None),
        (retry.id, "waiting", "RETRY", None, None, "try 1"),
        (released.id, "waiting", "PENDING", None, None, None),
    }
    [(worker, started, finished)] = rows(
        tx, "select worker_id, started_at, finished_at from lavoro.tasks where id = %s", success.id
    )
    assert worker == 1
    assert finished > started


def test_enqueue_from_sql(tx: Tx) -> None:
    id = value(tx, "select lavoro.enqueue('a.b')")
    [job] = take(tx)
    assert job == job._replace(
        id=id, name="a.b", args="[]", kwargs=None, options=None, payload=None, queue="celery", priority=0
    )


def test_enqueue_with_everything(tx: Tx) -> None:
    eta, id = dt.datetime(2100, 1, 1, tzinfo=dt.timezone.utc), uuid7()
    query = """
        select lavoro.enqueue('a.b', args => '[1, "x"]', kwargs => '{"k": null}', queue => 'q', priority => -4,
            eta => %s, id => %s)"""
    assert value(tx, query, eta, id) == id
    columns = "id, name, args::text, kwargs::text, queue, priority, due_at"
    assert rows(tx, f"select {columns} from lavoro.waiting") == [(id, "a.b", '[1, "x"]', '{"k": null}', "q", -4, eta)]


def test_enqueue_with_a_countdown(tx: Tx) -> None:
    for name, when in {"a": "countdown => 60", "b": "countdown => -60", "c": "eta => '1999-01-01'"}.items():
        value(tx, f"select lavoro.enqueue('{name}', {when})")
    later = "select name, round(extract(epoch from due_at - created_at) / 60)::int from lavoro.waiting order by name"
    assert rows(tx, later) == [("a", 1), ("b", 0), ("c", 0)]


def test_enqueue_from_a_trigger_is_part_of_the_callers_transaction(tx: Tx, opened: Callable[[], Tx]) -> None:
    ears = opened().connection
    ears.execute("listen lavoro_wake")
    with tx.connection.transaction(force_rollback=True):
        tx.cursor.execute("create table customer (name text)")
        tx.cursor.execute("""
            create function welcome() returns trigger language plpgsql as $$ begin
                perform lavoro.enqueue('shop.welcome', args => json_build_array(new.name), queue => 'mail');
                return new;
            end $$""")
        tx.cursor.execute("create trigger welcome after insert on customer for each row execute function welcome()")
        with tx.connection.transaction(force_rollback=True):
            tx.cursor.execute("insert into customer values ('nobody')")
        tx.cursor.execute("insert into customer values ('Ada')")
        assert rows(tx, "select name, args::text, queue from lavoro.waiting") == [("shop.welcome", '["Ada"]', "mail")]
    assert rows(tx, "select 1 from lavoro.waiting") == []


def test_enqueue_wakes_when_it_commits(tx: Tx, opened: Callable[[], Tx]) -> None:
    ears = opened().connection
    ears.execute("listen lavoro_wake")
    with tx.connection.transaction(force_rollback=True):
        value(tx, "select lavoro.enqueue('never')")
    value(tx, "select lavoro.enqueue('a', queue => 'q', priority => 3)")
    value(tx, "select lavoro.enqueue('a', countdown => 9)")
    assert [n.payload for n in ears.notifies(timeout=30, stop_after=2)] == ["due:3:q", "later:0:celery"]


def test_enqueue_in_a_two_phase_transaction(tx: Tx, opened: Callable[[], Tx]) -> None:
    listener = opened().connection
    listener.execute("listen lavoro_wake")
    with tx.connection.transaction():
        id = value(tx, "select lavoro.enqueue('a.b', wake => false)")
    value(tx, "select lavoro.enqueue('told')")
    assert [heard.payload for heard in listener.notifies(timeout=30, stop_after=1)] == ["due:0:celery"]
    assert stored(tx, id).stage == "waiting"


def test_enqueue_does_not_depend_on_the_search_path(tx: Tx) -> None:
    tx.cursor.execute("set search_path = public")
    assert value(tx, "select lavoro.enqueue('a.b')") is not None
    tasks.insert(tx, [message()])
    assert len(take(tx)) == 2
