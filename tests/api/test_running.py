"""Tasks in a real worker: what they know of themselves, how they end, and what their results say."""

from __future__ import annotations

import datetime as dt
import math
import sys
import threading
import uuid
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from lavoro import AsyncResult
from lavoro.exceptions import MaxRetriesExceededError, Reject, TaskError, TaskRevokedError, TimeoutError
from lavoro.store import queues
from tests.api import tasks
from tests.conftest import Eventually

pytestmark = pytest.mark.usefixtures("worker")


def again(result: AsyncResult[Any]) -> AsyncResult[Any]:
    """The same task's result as another process sees it."""
    return AsyncResult(result.id, app=tasks.app)


def test_result_of_a_task() -> None:
    before = dt.datetime.now(dt.timezone.utc)
    result = tasks.add.delay(2, 3)
    assert result.get(timeout=30) == 5
    seen = again(result)
    assert (seen.state, seen.status, seen.result, seen.info) == ("SUCCESS", "SUCCESS", 5, 5)
    assert (seen.ready(), seen.successful(), seen.failed()) == (True, True, False)
    assert (seen.name, seen.args, seen.kwargs, seen.retries) == ("tests.api.tasks.add", [2, 3], {}, 0)
    assert seen.date_done is not None
    assert abs(seen.date_done - before) < dt.timedelta(minutes=1)
    assert seen.worker
    assert seen.traceback is None
    assert seen.queue == "celery"
    assert seen.children == []
    assert seen.parent is None


def test_a_process_collects_garbage_but_does_not_search_its_modules() -> None:
    collects, left_out = tasks.collector.delay().get(timeout=30)
    assert collects
    assert left_out > 30_000


def test_arguments_arrive_as_they_were_sent() -> None:
    moment = dt.datetime(2030, 1, 2, 3, 4, 5, 678901, tzinfo=dt.timezone.utc)
    given = [
        moment, moment.date(), moment.time(), Decimal("1.50"), uuid.UUID(int=7), b"\x00\xff", "\u0000 \ud800 ü",
        math.inf, 10**5000, {"a": [None, True]},
    ]  # fmt: skip
    args, kwargs = tasks.echo.delay(*given, nothing=None).get(timeout=30)
    assert args == given
    assert kwargs == {"nothing": None}
    (nan,), _ = tasks.echo.delay(math.nan).get(timeout=30)
    assert math.isnan(nan)


def test_exception_of_a_class_that_is_imported_here() -> None:
    result = tasks.fail.delay("local")
    with pytest.raises(tasks.LocalError) as caught:
        result.get(timeout=30)
    assert (caught.value.code, caught.value.text) == (7, "seven")
    seen = again(result)
    assert (seen.ready(), seen.successful(), seen.failed()) == (True, False, True)
    assert isinstance(seen.result, tasks.LocalError)
    assert seen.traceback is not None
    assert "raise errors[kind]" in seen.traceback
    assert seen.get(propagate=False).code == 7


def test_exception_of_a_class_that_is_not_imported_is_made_up_and_nothing_is_imported() -> None:
    sys.modules.pop("json.tool", None)
    result = tasks.fail.delay("unknown")
    with pytest.raises(Exception, match="made here") as caught:
        result.get(timeout=30)
    assert type(caught.value).__name__ == "Homemade"
    assert "json.tool" not in sys.modules


@pytest.mark.parametrize(("kind", "cause"), [("exit", SystemExit), ("interrupt", KeyboardInterrupt)])
def test_a_result_never_ends_the_process_that_reads_it(kind: str, cause: type[BaseException]) -> None:
    result = tasks.fail.delay(kind)
    with pytest.raises(TaskError) as caught:
        result.get(timeout=30)
    assert isinstance(caught.value.__cause__, cause)
    assert isinstance(again(result).result, cause)
    with pytest.raises(TaskError):
        again(result).maybe_throw()


def test_a_rejected_task_is_a_failure() -> None:
    result = tasks.reject.delay()
    with pytest.raises(Reject, match="not like this"):
        result.get(timeout=30)
    assert again(result).state == "FAILURE"
    assert again(result).result.requeue is False


def test_ignored_task_is_over() -> None:
    result = tasks.ignore.delay()
    assert result.get(timeout=30) is None
    assert again(result).ready()


def test_task_that_ignores_its_result_gives_none_at_once(eventually: Eventually) -> None:
    result = tasks.forgotten.delay()
    assert result.get() is None
    assert result.ignored
    seen = again(result)
    eventually(seen.ready, timeout=30)
    assert seen.ignored
    assert seen.get() is None
    kept = tasks.forgotten.apply_async(ignore_result=False)
    assert kept.get(timeout=30) == 1


def test_retry_until_it_succeeds() -> None:
    result = tasks.insist.delay(2)
    assert result.get(timeout=60) == 2
    assert again(result).retries == 2


def test_retry_until_there_are_no_more() -> None:
    result = tasks.insist.delay(99)
    with pytest.raises(tasks.LocalError) as caught:
        result.get(timeout=60)
    assert caught.value.code == 2


def test_autoretry_ends_with_the_exception_and_keeps_a_traceback_of_each_try() -> None:
    result = tasks.retried_by_itself.delay()
    with pytest.raises(tasks.LocalError):
        result.get(timeout=60)
    found = again(result).attempts
    assert [(attempt.number, attempt.state) for attempt in found] == [(1, "RETRY")]
    assert "LocalError" in (found[0].traceback or "")
    assert found[0].worker
    assert "LocalError" in (again(result).traceback or "")


def test_progress_is_seen_while_the_task_runs(eventually: Eventually) -> None:
    result = tasks.report.delay(30)
    eventually(lambda: again(result).state == "PROGRESS", timeout=30)
    assert again(result).info == {"done": 1, "of": 2}
    assert not again(result).ready()
    tasks.ping.apply_async(task_id=f"seen-{result.id}")
    assert result.get(timeout=60) == "done"


def test_request_of_a_task() -> None:
    result = tasks.describe.apply_async(
        queue="celery", priority=3, headers={"x_trace": "t1"}, time_limit=50, soft_time_limit=40, MessageGroupId="g"
    )
    request = result.get(timeout=30)
    assert request["id"] == request["correlation_id"] == request["root_id"] == result.id
    assert request["task"] == request["current"] == "tests.api.tasks.describe"
    assert (request["args"], request["kwargs"], request["retries"]) == ([], {}, 0)
    assert (request["is_eager"], request["called_directly"], request["parent_id"]) == (False, False, None)
    assert request["delivery_info"] == {
        "exchange": "", "routing_key": "celery", "priority": 3, "redelivered": False,
    }  # fmt: skip
    assert request["headers"] == {"x_trace": "t1"}
    assert request["x_trace"] == "t1"
    assert request["properties"]["MessageGroupId"] == "g"
    assert request["timelimit"] == [50, 40]
    assert request["hostname"]
    assert [request[name] for name in ("group", "chord", "chain", "reply_to", "shadow")] == [None] * 5


def test_task_sent_by_a_task_is_its_child() -> None:
    result = tasks.call_another.delay()
    child = AsyncResult(result.get(timeout=30), app=tasks.app)
    assert again(result).children == [child]
    assert child.get(timeout=30) == 2


def test_waiting_inside_a_task_must_be_allowed() -> None:
    with pytest.raises(RuntimeError, match="within a task"):
        tasks.wait_for_another.delay(False).get(timeout=30)
    assert tasks.wait_for_another.delay(True).get(timeout=60) == 2


def test_many_wait_for_the_same_and_for_different_results() -> None:
    results = [tasks.add.delay(number, 0) for number in range(10)]
    values: list[tuple[int, int]] = []

    def wait(number: int) -> None:
        values.append((number, results[number].get(timeout=60)))

    threads = [threading.Thread(target=wait, args=(number,)) for number in list(range(10)) * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(values) == sorted([(number, number) for number in range(10)] * 2)


def test_delay_many_runs_all() -> None:
    results = tasks.add.delay_many((number, 1) for number in range(300))
    assert [result.get(timeout=60) for result in results] == [number + 1 for number in range(300)]


def test_get_in_time_or_timeout_error() -> None:
    result = tasks.add.apply_async((1, 1), countdown=3600)
    with pytest.raises(
        TimeoutError, match=r"tasks\.add\[.* it is waiting in the queue 'celery', which 1 live worker serv"
    ):
        result.get(timeout=0.05)
    with pytest.raises(TimeoutError, match="unknown, forgotten or expired"):
        AsyncResult(str(uuid.uuid4()), app=tasks.app).get(timeout=0)
    assert (result.state, result.result, result.ready()) == ("PENDING", None, False)
    result.revoke()


def test_a_timeout_says_what_keeps_the_task_from_starting() -> None:
    result = tasks.add.apply_async((1, 1), queue="no one's")
    match = (
        "in the queue .*no one's.*, and no live worker serves that: start one on this database "
        r"\(postgresql://.*\): lavoro worker -A yourapp -Q"
    )
    with pytest.raises(TimeoutError, match=match):
        result.get(timeout=0.05)
    queues.pause(tasks.app.database, ["no one's"])
    with pytest.raises(TimeoutError, match="which is paused"):
        result.get(timeout=0)
    queues.resume(tasks.app.database, ["no one's"])
    result.revoke()


def test_a_timeout_in_a_transaction_says_that_it_may_not_be_committed() -> None:
    with sa.create_engine(tasks.app.database_url, poolclass=sa.NullPool).connect() as connection:
        with tasks.app.transaction(connection):
            result = tasks.add.delay(1, 1)
        with pytest.raises(TimeoutError, match="transaction .* is not committed yet or was rolled back"):
            result.get(timeout=0.05)
        connection.rollback()


def test_revoked_task() -> None:
    result = tasks.add.apply_async((1, 1), countdown=3600)
    assert result.exists()
    result.revoke()
    with pytest.raises(TaskRevokedError):
        result.get(timeout=30)
    assert again(result).state == "REVOKED"
    assert isinstance(again(result).result, TaskRevokedError)


def test_forgotten_result() -> None:
    result = tasks.add.delay(1, 1)
    result.get(timeout=30)
    result.forget()
    assert (result.state, result.result, result.exists()) == ("PENDING", None, False)


def test_callback_of_get_is_told_id_and_value() -> None:
    told: list[tuple[str, int]] = []
    result = tasks.add.delay(4, 4)
    assert result.get(timeout=30, callback=lambda id, value: told.append((id, value))) == 8
    assert told == [(result.id, 8)]


def test_shared_task_runs_in_the_worker() -> None:
    assert tasks.app.tasks["tests.api.shared"].delay(21).get(timeout=30) == 42


def test_send_task_by_name() -> None:
    assert tasks.app.send_task("tests.api.tasks.add", (1, 2)).get(timeout=30) == 3


def test_text_as_task_id() -> None:
    result = tasks.add.apply_async((1, 2), task_id="order 7/ü")
    assert result.id == "order 7/ü"
    assert result.get(timeout=30) == 3
    described = tasks.describe.apply_async(task_id="my own id").get(timeout=30)
    assert described["id"] == described["root_id"] == "my own id"


def test_finished_result_is_read_without_listening(worker_url: str) -> None:
    result = tasks.add.delay(1, 1)
    result.get(timeout=30)
    with type(tasks.app)("reader", broker=worker_url, set_as_current=False) as reader:
        assert reader.AsyncResult(result.id).get(timeout=30) == 2
        assert not reader.result_listener.listening


def test_what_went_wrong_is_in_the_worker_log(worker: Path) -> None:
    result = tasks.fail.delay("key")
    with pytest.raises(KeyError, match="name"):
        result.get(timeout=30)
    assert f"tests.api.tasks.fail[{result.id}] raised unexpected: KeyError('name')" in worker.read_text()


def test_max_retries_exceeded_is_what_celery_raises() -> None:
    assert tasks.insist.MaxRetriesExceededError is MaxRetriesExceededError
