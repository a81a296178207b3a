"""Results: what each state says, how they wait, and how they behave as objects."""

from __future__ import annotations

import builtins
import copy
import pickle
import uuid
from pathlib import Path
from typing import Any

import pytest

from lavoro import AsyncResult, EagerResult, Lavoro
from lavoro.exceptions import Ignore, IncompleteStream, Reject, TaskRevokedError, TimeoutError
from lavoro.result import (
    allow_join_result,
    assert_will_not_block,
    denied_join_result,
    result_from_tuple,
    task_join_will_block,
)
from lavoro.store import tasks as store
from tests.api import tasks
from tests.conftest import Eventually
from tests.store.walk import lane, registered, succeeded, take


def again(result: AsyncResult[Any]) -> AsyncResult[Any]:
    """The same task's result as another process sees it."""
    return AsyncResult(result.id, app=tasks.app)


# What a worker leaves behind


@pytest.mark.parametrize(
    ("state", "meta"), [("PROGRESS", {"done": 1}), ("SUCCESS", 7), ("SKIPPED", None), ("RETRY", "soon")]
)
@pytest.mark.usefixtures("worker")
def test_ignore_keeps_a_state_of_the_tasks_own(state: str, meta: Any, eventually: Eventually) -> None:
    result = tasks.leave.delay(state, meta)
    assert result.get(timeout=30) == meta  # from SUCCESS on, while the task still runs: the state decides
    seen = eventually(lambda: (found := again(result)).stage == "finished" and found, why="the task ended")
    assert (seen.state, seen.info, seen.ready()) == (state, meta, True)


@pytest.mark.usefixtures("worker")
def test_a_started_task_says_where() -> None:
    told = tasks.tracked.delay().get(timeout=30)
    assert told["state"] == "STARTED"
    assert told["info"] == {"pid": told["pid"], "hostname": told["hostname"]}


@pytest.mark.usefixtures("worker")
def test_a_value_that_cannot_be_stored_is_null(worker: Path, eventually: Eventually) -> None:
    results = [tasks.unspeakable.delay() for _ in range(3)]
    assert [result.get(timeout=30) for result in results] == [None] * 3
    assert {again(result).state for result in results} == {"SUCCESS"}
    words = "the result of tests.api.tasks.unspeakable cannot be stored, null is stored instead"
    eventually(lambda: words in worker.read_text(), why="the log says so")
    assert worker.read_text().count(words) == 1


@pytest.mark.usefixtures("worker")
def test_what_a_task_led_to() -> None:
    result = tasks.call_another.delay()
    child = AsyncResult(result.get(timeout=30), app=tasks.app)
    assert child.parent is None
    assert child.get(timeout=30) == 2
    assert list(result.iterdeps()) == [(None, result), (result, child)]
    assert [(node.id, value) for node, value in again(result).collect()] == [(result.id, child.id), (child.id, 2)]
    assert again(result).get_leaf() == 2


@pytest.mark.usefixtures("worker")
def test_a_failed_parent_ends_the_wait_for_what_never_starts() -> None:
    failed = tasks.fail.delay("key")
    never = AsyncResult(str(uuid.uuid4()), app=tasks.app, parent=failed)
    last = AsyncResult(str(uuid.uuid4()), app=tasks.app, parent=never)
    with pytest.raises(KeyError, match="name"):
        last.get(timeout=30, interval=0.05)
    with pytest.raises(TimeoutError):
        last.get(timeout=0.1, interval=0.05, follow_parents=False)
    told: list[tuple[str, Any]] = []
    assert isinstance(failed.get(30, False, callback=lambda id, value: told.append((id, value))), KeyError)
    assert [id for id, _ in told] == [failed.id]
    last.forget()
    assert failed.state == "PENDING"


@pytest.mark.usefixtures("worker")
def test_a_task_tells_of_a_task_that_another_worker_runs(app: Lavoro) -> None:
    with Lavoro("there", broker=tasks.app.database_url, set_as_current=False) as there:
        sent = there.send_task("theirs", queue="no worker serves this")
        assert tasks.report_for.delay(sent.id).get(timeout=30) is None
        tx = there.database.open("lavoro-test")
        worker = registered(tx, process=9)
        [job] = take(tx, lane("no worker serves this"), worker_id=worker)
        told = tasks.report_for.delay(sent.id)
        assert told.get(timeout=30) == {"by": told.id} == sent.info
        store.finish(tx, worker, [succeeded(job)])
        tx.cursor.execute("update lavoro.worker set stopped_at = clock_timestamp() where id = %s", [worker])
        tx.connection.close()


@pytest.mark.usefixtures("worker")
def test_each_state_that_is_seen_is_told() -> None:
    told: list[dict[str, Any]] = []

    def tell(meta: dict[str, Any]) -> None:
        told.append(meta)
        if meta["status"] == "PROGRESS":
            tasks.add.apply_async((1, 1), task_id=f"seen-{result.id}")

    result = tasks.report.delay(30)
    assert result.get(timeout=30, interval=0.01, on_message=tell) == "done"
    assert [(meta["task_id"], meta["status"], meta["result"]) for meta in told] == [
        (result.id, "PROGRESS", {"done": 1, "of": 2}), (result.id, "SUCCESS", "done"),
    ]  # fmt: skip
    assert result.get(on_message=told.append) == "done"
    assert told[2] == told[1]


@pytest.mark.usefixtures("worker")
def test_then_calls_what_it_is_given() -> None:
    told: list[Any] = []
    good, bad = tasks.add.delay(1, 2), tasks.fail.delay("key")
    good.then(lambda result: told.append(result.result), on_error=told.append)
    bad.then(lambda result: told.append(result.id), on_error=told.append)
    assert told[:2] == [3, bad.id]
    assert isinstance(told[2], KeyError)


# States and outcomes from elsewhere


def test_a_state_is_stored_for_a_task_that_another_process_runs(app: Lavoro, caplog: pytest.LogCaptureFixture) -> None:
    report = app.task(name="report")(lambda: None)
    sent = app.send_task("held")
    report.update_state(sent.id, "EARLY")
    tx = app.database.open("lavoro-test")
    registered(tx)
    [job] = take(tx)
    app.conf.lavoro_max_progress_size = 20
    report.update_state(task_id=sent.id, state="TOLD", meta={"done": 1})
    report.update_state(sent.id, "LONG", "x" * 19)
    assert (sent.state, sent.info, sent.ready()) == ("TOLD", {"done": 1}, False)
    store.finish(tx, 1, [succeeded(job)])
    tx.connection.close()
    assert sent.get(timeout=60) == 3
    report.update_state(sent.id, "LATE")
    report.update_state("my own", "SUCCESS", 5)
    assert (sent.state, app.AsyncResult("my own").get(timeout=60)) == ("SUCCESS", 5)
    beginning = f"of report[{sent.id}] is dropped:"
    assert [record.message for record in caplog.records] == [
        f"state EARLY {beginning} no task of this id runs",
        f"state LONG {beginning} it has 21 characters, more than 20 (lavoro_max_progress_size)",
        f"state LATE {beginning} no task of this id runs",
    ]


def test_eager_results_are_stored_where_that_is_asked_for(app: Lavoro) -> None:
    app.conf.task_always_eager = True

    @app.task(name="some", store_eager_result=True)
    def some(x: int, fail: bool = False) -> list[int]:
        if fail:
            raise KeyError(x)
        return [x]

    @app.task(name="kept", store_eager_result=True)
    def kept() -> set[int]:
        return {1}

    kept.result_serializer = "pickle"

    @app.task(name="none")
    def none() -> int:
        return 1

    @app.task(name="refused", store_eager_result=True)
    def refused(requeue: bool | None) -> None:
        raise Ignore if requeue is None else Reject("no", requeue=requeue)

    app.conf.accept_content = ["json", "pickle"]
    good, bad, odd = some.delay(5), some.apply((6,), {"fail": True}), kept.apply_async(task_id="my own")
    again = AsyncResult(good.id)
    assert (again.get(timeout=60), again.name, again.args, again.retries) == ([5], "some", [5], 0)
    assert (AsyncResult(bad.id).state, AsyncResult(bad.id).traceback) == ("FAILURE", bad.traceback)
    with pytest.raises(KeyError, match="6"):
        AsyncResult(bad.id).get(timeout=60)
    assert (odd.id, AsyncResult("my own").get(timeout=60)) == ("my own", {1})
    unstored = [none.delay(), some.apply_async((7,), ignore_result=True), *map(refused.delay, (None, True, False))]
    assert [AsyncResult(result.id).exists() for result in unstored] == [False] * 5
    app.conf.task_store_eager_result = True
    assert AsyncResult(none.delay().id).get(timeout=60) == 1


# Waiting


def test_an_ignored_result_is_none_at_once(app: Lavoro) -> None:
    @app.task(ignore_result=True)
    def forgotten() -> None: ...

    @app.task
    def kept() -> None: ...

    with denied_join_result():
        assert forgotten.delay().get() is None
        assert kept.apply_async(ignore_result=True).get() is None
        assert app.send_task(kept.name, ignore_result=True).get() is None
        assert [result.get() for result in kept.delay_many([(), ()], ignore_result=True)] == [None, None]
        with pytest.raises(RuntimeError, match="within a task"):
            kept.delay().get()
        with allow_join_result(), pytest.raises(TimeoutError):
            kept.delay().get(timeout=0)


def test_where_waiting_is_refused() -> None:
    assert_will_not_block()
    assert not task_join_will_block()
    with denied_join_result():
        assert task_join_will_block()
        with pytest.raises(RuntimeError, match="within a task"):
            assert_will_not_block()
        with allow_join_result():
            assert not task_join_will_block()
    assert_will_not_block()


def test_a_timeout_is_no_error_of_the_system(app: Lavoro) -> None:
    """``autoretry_for=(OSError,)`` must not try a task again because another one takes long."""
    calls: list[None] = []
    with pytest.raises(AsyncResult.TimeoutError) as caught:
        app.send_task("slow").get(timeout=0.1, interval=0.02, on_interval=lambda: calls.append(None))
    assert type(caught.value) is TimeoutError
    assert not isinstance(caught.value, (OSError, builtins.TimeoutError))
    assert calls


def test_a_step_of_a_chain_tells_where_the_chain_is(app: Lavoro) -> None:
    one = app.task(name="one")(lambda: None)
    last = (one.si() | one.si() | one.si())()
    with pytest.raises(TimeoutError, match=r"is not sent yet: the task before it, one\[.*: it is waiting in the queue"):
        last.get(timeout=0)
    first = last.parent.parent
    first.revoke()
    with pytest.raises(TaskRevokedError):
        last.get(timeout=30, interval=0.01)


def test_a_stream_that_is_not_over(app: Lavoro) -> None:
    result = app.send_task("slow")
    with pytest.raises(IncompleteStream):
        list(result.iterdeps())
    assert list(result.iterdeps(intermediate=True)) == [(None, result)]


# As objects


def test_results_are_the_same_by_their_id(app: Lavoro) -> None:
    one, same, other = AsyncResult("a"), AsyncResult("a", task_name="x"), AsyncResult("b")
    assert (one == same, one == "a", one == other, one == "b") == (True, True, False, False)
    assert one != object()
    assert len({one, same, other}) == 2
    assert hash(one) == hash("a")
    assert (str(one), repr(one)) == ("a", "<AsyncResult: a>")
    assert repr(EagerResult("a", 1, "SUCCESS")) == "<EagerResult: a>"
    assert one == EagerResult("a", 1, "SUCCESS")


def test_results_are_copied_and_sent(app: Lavoro) -> None:
    aside = Lavoro("aside", broker="postgresql://127.0.0.1:1/nowhere", set_as_current=False)
    result = AsyncResult("c", app=aside, parent=AsyncResult("p", app=aside))
    for same in (copy.copy(result), copy.deepcopy(result)):
        assert (same, same.app, same.parent) == (result, aside, result.parent)
    sent = pickle.loads(pickle.dumps(result))
    assert (sent, sent.app, sent.parent) == (result, app, result.parent)
    eager = EagerResult("e", 1, "SUCCESS")
    for same in (copy.copy(eager), pickle.loads(pickle.dumps(eager))):
        assert (same.id, same.get(), same.state) == ("e", 1, "SUCCESS")


def test_results_as_plain_data(app: Lavoro) -> None:
    result = AsyncResult("c", parent=AsyncResult("p"))
    assert result.as_tuple() == (("c", (("p", None), None)), None)
    assert result.as_list() == ["c", "p"]
    same = result_from_tuple(result.as_tuple())
    assert (same, same.parent, same.app) == (result, result.parent, app)
    assert result_from_tuple(result) is result
    assert result_from_tuple(("c", None)).id == "c"


@pytest.mark.parametrize("state", ["RETRY", "REJECTED", "IGNORED"])
def test_an_eager_result_that_neither_returned_nor_failed(state: str) -> None:
    assert EagerResult("e", ValueError("x"), state).get() is None
    assert EagerResult("e", 1, state).ready()


def test_an_eager_result_of_a_call_that_was_refused_has_no_id() -> None:
    result: EagerResult[None] = EagerResult(None, None, "REJECTED")
    assert (result.id, result.state, result.get()) == ("", "REJECTED", None)


def test_an_eager_result_that_failed() -> None:
    assert EagerResult("e", 1, "SUCCESS").get() == 1
    error = ValueError("x")
    failed = EagerResult("e", error, "FAILURE", "trace")
    with pytest.raises(ValueError, match="x"):
        failed.get()
    assert failed.get(propagate=False) is error
    with pytest.raises(Exception, match="just words"):
        EagerResult("e", "just words", "FAILURE").get()
    failed.revoke()
    assert (failed.state, failed.traceback) == ("REVOKED", None)
    with pytest.raises(TaskRevokedError, match="revoked"):
        failed.get()
