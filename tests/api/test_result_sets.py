"""Sets of results: their state, waiting for all of them, and what a wait for thousands costs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from itertools import combinations
from typing import Any

import pytest

from lavoro import AsyncResult, EagerResult, Lavoro, chord, group, serialization
from lavoro.exceptions import (
    ImproperlyConfigured,
    OperationalError,
    TaskRevokedError,
    TimeoutError,
)
from lavoro.protocol import outcome
from lavoro.result import GroupResult, ResultSet
from lavoro.store import tasks as store
from lavoro.store.results import PAGE
from lavoro.store.schema.migrate import migrate
from tests.api import tasks
from tests.api.by_hand import Hand, Send, Statements
from tests.conftest import Eventually
from tests.postgres import Cluster

MANY = 10_000


# With a worker


@pytest.mark.usefixtures("worker")
def test_values_come_in_the_order_of_the_set() -> None:
    for join in (ResultSet.get, ResultSet.join, ResultSet.join_native):
        results = ResultSet([tasks.add.delay(number, number) for number in range(20)])
        assert join(results, timeout=30) == [2 * number for number in range(20)]
        assert results.completed_count() == 20
        assert (results.ready(), results.waiting(), results.successful(), results.failed()) == (
            True,
            False,
            True,
            False,
        )


@pytest.mark.usefixtures("worker")
def test_a_group_in_a_group() -> None:
    inner = GroupResult("inner", [tasks.add.delay(3, 3), GroupResult("deep", [tasks.add.delay(4, 4)])])
    group = GroupResult("outer", [tasks.add.delay(1, 1), inner, tasks.add.delay(2, 2)])
    for join in (group.get, group.join, group.join_native):
        assert join(timeout=30) == [2, [6, [8]], 4]
    assert dict(group.iter_native(timeout=30))["inner"] == inner.results
    assert group.completed_count() == 3
    assert group.children == group.results


@pytest.mark.usefixtures("worker")
def test_a_member_that_failed() -> None:
    good, bad = tasks.add.delay(1, 1), tasks.fail.delay("key")
    group = GroupResult("g", [good, GroupResult("inner", [bad])])
    for join in (group.get, group.join, group.join_native):
        with pytest.raises(KeyError, match="name"):
            join(timeout=30)
        told: dict[str, Any] = {}
        assert join(timeout=30, propagate=False, callback=told.__setitem__) == ([] if join == group.join else None)
        assert told.keys() == {good.id, "inner"}
        two, (error,) = join(timeout=30, propagate=False)
        assert (two, type(error)) == (2, KeyError)
    assert (group.ready(), group.successful(), group.failed(), group.completed_count()) == (True, False, True, 1)
    with pytest.raises(KeyError, match="name"):
        group.maybe_throw()
    group.maybe_throw(propagate=False)


@pytest.mark.usefixtures("worker")
def test_a_member_that_ends_with_an_exit_does_not_end_the_caller() -> None:
    group = ResultSet([tasks.fail.delay("exit")])
    for join in (group.join, group.join_native, group.maybe_throw):
        with pytest.raises(Exception, match="ended with SystemExit"):
            join(**({} if join == group.maybe_throw else {"timeout": 30}))


@pytest.mark.usefixtures("worker")
def test_an_ignored_member_is_none_at_once() -> None:
    group = ResultSet([tasks.add.delay(1, 1), tasks.forgotten.delay()])
    assert group.join(timeout=30) == group.join_native(timeout=30) == [2, None]


@pytest.mark.usefixtures("worker")
def test_what_is_stored_of_each_member() -> None:
    result = tasks.add.delay(1, 1)
    heard: list[Any] = []
    [(id, about)] = ResultSet([result]).iter_native(timeout=30, on_message=heard.append)
    assert (id, about["task_id"], about["status"], about["result"]) == (result.id, result.id, "SUCCESS", 2)
    assert heard == [about]
    assert dict(tasks.app.backend.get_many([result.id], timeout=30)) == {id: about}
    assert ResultSet([result]).get(timeout=30, on_message=heard.append) == [2]
    assert heard == [about, about]
    with pytest.raises(ImproperlyConfigured, match="does not support on_message callback"):
        ResultSet([result]).join(on_message=heard.append)


@pytest.mark.usefixtures("worker")
def test_waiting_for_a_set_inside_of_a_task() -> None:
    with pytest.raises(RuntimeError, match="within a task"):
        tasks.join_others.delay(False).get(timeout=30)
    assert tasks.join_others.delay(True).get(timeout=30) == [2, 4]


@pytest.mark.usefixtures("worker")
def test_the_children_of_a_task(statements: Statements) -> None:
    result = tasks.send_some.delay()
    ids = result.get(timeout=30)
    first, group, *many = result.children
    assert [child.id for child in result.children] == ids
    assert (isinstance(first, AsyncResult), isinstance(group, GroupResult), len(many)) == (True, True, 2)
    assert group.join(timeout=30) == [4, [6]]
    assert first.get(timeout=30) == 2
    ResultSet(many).get(timeout=30)
    statements.clear()
    again = AsyncResult(result.id, app=tasks.app)
    found = [(node.id, value) for node, value in again.collect()]
    assert [value for _, value in found] == [ids, 2, [4, [6]], 8, 10, 4, [6], 6]
    assert statements == {"fetch_outcomes": 1}
    assert again.get_leaf() == 6
    graph = AsyncResult(result.id, app=tasks.app).graph
    assert graph.valency_of(result) == 7
    assert graph.topsort()[-1] == result


@pytest.mark.usefixtures("worker")
def test_ten_thousand_that_a_worker_runs(statements: Statements) -> None:
    results = ResultSet(tasks.add.delay_many((number, 1) for number in range(MANY)))
    threads = threading.active_count()
    statements.clear()
    began = time.monotonic()
    assert results.get(timeout=60) == [number + 1 for number in range(MANY)]
    seconds = time.monotonic() - began
    assert statements["fetch_outcomes"] <= MANY / PAGE + 100 * seconds + 10  # ends 10 ms apart are read apart
    assert statements["list_ended"] <= 2 * seconds + 3
    assert statements.keys() == {"fetch_outcomes", "list_ended"}
    assert threading.active_count() <= threads + 1  # the listener's


def test_the_members_before_a_task_are_looked_at_together(hand: Hand, send: Send, statements: Statements) -> None:
    """The result of a chord's body has the group of the header as its parent."""
    members, [body] = send(100), send(1)
    body.parent = GroupResult("header", members)
    hand.end(*members[:50])
    hand.end(body)
    statements.clear()
    assert body.get(timeout=30) == 1
    assert statements == {"list_ended": 1}
    hand.fail(members[60])
    with pytest.raises(KeyError, match="x"):
        body.get(timeout=30)


@pytest.mark.usefixtures("worker")
def test_the_members_of_a_chord_that_succeeded_are_not_looked_at(statements: Statements) -> None:
    """The body starts only after them; with the policy `run` it starts after failures too."""
    total = chord([tasks.add.s(number, number) for number in range(5)], tasks.identity.s()).delay()
    told = chord([tasks.fail.s("key")], tasks.kinds.s()).apply_async(failure_policy="run")
    statements.clear()
    assert total.get(timeout=30, interval=30) == [0, 2, 4, 6, 8]
    assert "list_ended" not in statements
    with pytest.raises(KeyError, match="name"):
        told.get(timeout=30, interval=30)
    assert statements["list_ended"] == 1


@pytest.mark.usefixtures("worker")
def test_then_calls_with_the_set() -> None:
    told: list[Any] = []
    good, bad = ResultSet([tasks.add.delay(1, 1)]), ResultSet([tasks.fail.delay("key")])
    good.then(lambda results: told.append(results[0].result), on_error=told.append)
    bad.then(lambda results: told.append(len(results)), on_error=told.append)
    assert told[:2] == [2, 1]
    assert isinstance(told[2], KeyError)


# Without one


def test_ten_thousand_that_have_ended(hand: Hand, send: Send, statements: Statements) -> None:
    results = send(MANY)
    hand.end(*results)
    for join in (ResultSet.join, ResultSet.join_native):
        again = ResultSet([AsyncResult(result.id) for result in results])
        statements.clear()
        assert join(again, timeout=60) == [1] * MANY
        assert again.ready()
        assert again.completed_count() == MANY
        assert statements == {"list_ended": 1, "fetch_outcomes": MANY // PAGE}
    assert not results[0].site.result_listener.listening


def test_a_question_takes_one_statement(hand: Hand, send: Send, statements: Statements) -> None:
    results = send(100)
    hand.end(*results[:40])
    group = GroupResult("g", [*results[:50], GroupResult("inner", results[50:])])
    for question, answer in (
        ("ready", False), ("waiting", True), ("successful", False), ("failed", False), ("completed_count", 40),
    ):  # fmt: skip
        statements.clear()
        assert getattr(group, question)() == answer
        assert statements == {"list_ended": 1}
    statements.clear()
    ResultSet(results[40:]).revoke()
    assert statements == {"revoke_tasks": 1}
    assert (group.ready(), group.completed_count()) == (False, 40)  # those that are revoked have begun
    statements.clear()
    group.forget()
    assert statements == {"forget_tasks": 1}
    assert group.completed_count() == 0


@pytest.fixture
def one_of_each(app: Lavoro, hand: Hand) -> dict[str, str]:
    """The ids of tasks in each state and stage."""
    one, total = app.task(name="one")(lambda *_: 1), app.task(name="total")(sum)
    held = chord([one.s()])(total.s())
    kinds = ("running", "custom", "final", "retried", "success", "failure", "ignored", "left", "terminated")
    results = {kind: one.delay() for kind in kinds}
    hand.take()
    jobs = {kind: hand.jobs[result.id] for kind, result in results.items()}
    for kind, state in (("custom", "HALF"), ("final", "SUCCESS"), ("left", "DONE MYSELF")):
        store.store_progress(hand.tx, 1, jobs[kind], state=state, meta="5")
    hand.end(results["success"])
    hand.fail(results["failure"])
    error = serialization.dumps_exception(TaskRevokedError("terminated"))
    ignored = [outcome.ignored(jobs[kind], 0.1) for kind in ("ignored", "left")]
    store.finish(hand.tx, 1, [*ignored, outcome.revoked(jobs["terminated"], error)])
    store.requeue(hand.tx, 1, [outcome.retrying(jobs["retried"], countdown=60.0, error=error)])
    revoked = one.apply_async(countdown=60)
    revoked.revoke()
    results |= {"held": held, "waiting": one.delay(), "revoked": revoked, "unknown": AsyncResult("unknown")}
    return {kind: result.id for kind, result in results.items()}


def test_a_set_says_what_its_members_say(one_of_each: dict[str, str]) -> None:
    questions: dict[str, Callable[[list[AsyncResult[Any]]], object]] = {
        "ready": lambda each: all(result.ready() for result in each),
        "waiting": lambda each: any(not result.ready() for result in each),
        "successful": lambda each: all(result.successful() for result in each),
        "failed": lambda each: any(result.failed() for result in each),
        "completed_count": lambda each: sum(result.successful() for result in each),
    }
    assert len({AsyncResult(id).state for id in one_of_each.values()}) == 8
    for kinds in [(), *((kind,) for kind in one_of_each), *combinations(one_of_each, 2), tuple(one_of_each)]:
        members = [AsyncResult(one_of_each[kind]) for kind in kinds]
        for question, answer in questions.items():
            assert getattr(ResultSet(members), question)() == answer(members), (kinds, question)
            known = ResultSet([AsyncResult(one_of_each[kind]) for kind in kinds])
            known.learn()
            assert getattr(known, question)() == answer(members), (kinds, question)


def test_a_set_gives_what_its_members_give(one_of_each: dict[str, str]) -> None:
    def value_of(get: Callable[..., Any]) -> object:
        try:
            return repr(get(timeout=0, interval=0.01))
        except TimeoutError:
            return "timeout"
        except Exception as error:
            return repr(error)

    for kind, id in one_of_each.items():
        alone = value_of(AsyncResult(id).get)
        for join in (ResultSet.get, ResultSet.join, ResultSet.join_native):
            found = value_of(lambda **how: join(ResultSet([AsyncResult(id)]), **how)[0])  # noqa: B023
            assert found == alone, (kind, join)


def test_revoking_a_set_ends_the_members_that_wait(send: Send) -> None:
    group = ResultSet(send(3))
    group.revoke(wait=True, timeout=60)
    assert [result.state for result in group] == ["REVOKED"] * 3
    with pytest.raises(Exception, match="revoked"):
        group.get(timeout=60)


def test_a_failure_is_raised_before_all_have_ended(hand: Hand, send: Send) -> None:
    results = send(3)
    hand.fail(results[2])
    with pytest.raises(KeyError):
        ResultSet(results).get(timeout=60)
    with pytest.raises(TimeoutError):
        ResultSet(results).join(timeout=0.05, interval=0.01)
    told: list[Any] = []
    ResultSet(results[2:]).join(propagate=False, callback=lambda id, value: told.append(id))
    assert told == [results[2].id]


def test_a_failed_parent_ends_the_wait(hand: Hand, send: Send) -> None:
    first, *never = send(4)
    group = GroupResult("g", [AsyncResult(result.id, parent=first) for result in never[:2]])
    behind = GroupResult("h", never[2:], parent=GroupResult("before", [first]))
    looks: list[None] = []

    def fail_later() -> None:
        looks.append(None)
        if len(looks) == 2:
            hand.fail(first)

    with pytest.raises(KeyError):
        group.get(timeout=60, interval=0.02, on_interval=fail_later)
    for join in (behind.get, behind.join, group.join):
        with pytest.raises(KeyError):
            join(timeout=60)
    with pytest.raises(TimeoutError):
        behind.get(timeout=0, propagate=False)


@pytest.mark.parametrize("join", [ResultSet.join, ResultSet.join_native])
def test_a_timeout_of_nothing_looks_once(hand: Hand, send: Send, join: Any) -> None:
    results = send(2)
    with pytest.raises(TimeoutError, match=r"one\[.*waiting.*; 1 more of this set has none either"):
        join(ResultSet(results), timeout=0, interval=60)
    hand.end(*results)
    assert join(ResultSet(results), timeout=0, interval=60) == [1, 1]


def test_time_that_a_callback_takes_counts(hand: Hand, send: Send) -> None:
    done, open = send(2)
    hand.end(done)
    told: list[Any] = []
    spent = threading.Event()
    with pytest.raises(TimeoutError):
        ResultSet([done, open]).join(timeout=0.1, callback=lambda id, _: (told.append(id), spent.wait(0.15)))
    assert told == [done.id]


def test_ends_are_told_not_looked_for(hand: Hand, send: Send, statements: Statements) -> None:
    results = ResultSet(send(5))
    hand.take()
    seen: list[str] = []
    iterator = results.iter_native(timeout=60, interval=60)
    for number in (3, 0, 4, 1, 2):
        hand.end_soon(results[number])
        seen.append(next(iterator)[0])
        hand.timer.join()
    assert seen == [results[number].id for number in (3, 0, 4, 1, 2)]
    assert next(iterator, None) is None
    assert statements["fetch_outcomes"] == 5
    assert statements["list_ended"] <= 3


def test_a_lost_listening_connection_does_not_keep_the_wait(hand: Hand, send: Send, eventually: Eventually) -> None:
    results = ResultSet(send(2))
    hand.take()
    values: list[Any] = []
    thread = threading.Thread(target=lambda: values.extend(results.get(timeout=60, interval=60)))
    thread.start()
    find = "select pid from pg_stat_activity where application_name = 'lavoro-listener' and state = 'idle'"
    pid = eventually(lambda: hand.tx.connection.execute(find).fetchone(), why="it listens")
    hand.tx.connection.execute("select pg_terminate_backend(%s, 60000)", pid)
    hand.end(*results)
    thread.join(60)
    assert values == [1, 1]


def test_a_database_that_goes_away_is_waited_for(own_cluster: Cluster) -> None:
    url = own_cluster.url(own_cluster.create_database())
    migrate(url)
    with Lavoro("away", broker=url) as app:
        results, values, seen = ResultSet([app.send_task("one") for _ in range(3)]), [], threading.Event()
        wait = {"timeout": 120, "interval": 0.05, "on_interval": seen.set}
        thread = threading.Thread(target=lambda: values.extend(results.get(**wait)))
        thread.start()
        assert seen.wait(60)
        own_cluster.stop("immediate")
        with pytest.raises(OperationalError):
            ResultSet(list(results)).get(timeout=0.2, interval=0.05)
        assert thread.is_alive()
        own_cluster.start()
        hand = Hand(app)
        hand.end(*results)
        hand.tx.connection.close()
        thread.join(60)
        assert values == [1, 1, 1]


def test_two_threads_join_one_set(hand: Hand, send: Send) -> None:
    results = ResultSet(send(200))
    hand.take()
    values: list[Any] = []
    threads = [threading.Thread(target=lambda: values.append(results.get(timeout=60))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for result in results:
        hand.end(result)
    for thread in threads:
        thread.join(60)
    assert values == [[1] * 200] * 4


def test_a_set_grows_while_it_is_joined(hand: Hand, send: Send) -> None:
    first, second, third = send(3)
    results = ResultSet([first])
    hand.end(first)

    def grow(id: str, value: Any) -> None:
        told.append(id)
        if id == first.id:
            results.add(second)
            results.add(third)
            hand.end_soon(second, third)

    told: list[str] = []
    assert results.join(timeout=60, interval=60, callback=grow) == []
    assert told == [first.id, second.id, third.id]
    assert results.get(timeout=60) == [1, 1, 1]


def test_a_result_of_a_reused_id_is_the_latest(hand: Hand, app: Lavoro) -> None:
    for value in ("1", "2"):
        sent = app.send_task("one", task_id="00000000-0000-4000-8000-000000000001")
        hand.end(sent, value=value)
    assert ResultSet([app.AsyncResult(sent.id)]).get(timeout=60) == [2]


def test_members_of_other_applications(hand: Hand, send: Send, worker_url: str) -> None:
    [mine] = send(1)
    hand.end(mine)
    with Lavoro("other", broker=worker_url, set_as_current=False) as other:
        with pytest.raises(TimeoutError):
            ResultSet([mine, AsyncResult(mine.id, app=other)]).get(timeout=0)
        assert ResultSet([mine, EagerResult("e", 2, "SUCCESS")]).join(timeout=0) == [1, 2]


# Canvases


def test_a_chord_tells_what_it_waits_for(hand: Hand, app: Lavoro) -> None:
    one, total = app.task(name="one")(lambda *_: 1), app.task(name="total")(lambda values: sum(values))
    body = chord([one.s() for _ in range(3)])(total.s())
    header = body.parent
    assert (body.stage, body.state, body.exists(), body.name) == ("held", "PENDING", True, "total")
    assert body.reason == "waits for 3 of 3 tasks"
    hand.end(header[0])
    with pytest.raises(
        TimeoutError, match=r"total\[.*no result yet: it waits for 2 of 3 tasks, for the queue 'celery'"
    ):
        body.get(timeout=0)
    assert (header.ready(), header.completed_count()) == (False, 1)
    hand.end(header[1], header[2])
    assert header.get(timeout=60) == [1, 1, 1]
    hand.end(body, value="3")
    assert body.get(timeout=60) == 3
    assert ResultSet([body, header]).get(timeout=60) == [3, [1, 1, 1]]


@pytest.mark.usefixtures("worker")
def test_the_result_of_a_group_is_a_set_of_its_members() -> None:
    sent = group(tasks.add.s(1, 1), group(tasks.add.s(2, 2), tasks.add.s(3, 3)), tasks.add.s(4, 4) | tasks.add.s(1))()
    assert isinstance(sent, GroupResult)
    assert sent.get(timeout=30) == [2, 4, 6, 9]
    sent.save()
    again = GroupResult.restore(sent.id, app=tasks.app)
    assert (again, again.get(timeout=30)) == (sent, [2, 4, 6, 9])
    sent.delete()
    behind = (tasks.add.s(1, 1) | group(tasks.add.s(2), tasks.add.s(3)))()
    assert behind.get(timeout=30) == [4, 5]
    assert behind.parent.get(timeout=30) == 2


def test_what_came_before_is_asked_for_and_forgotten_together(hand: Hand, send: Send, statements: Statements) -> None:
    first, second, *last = send(12)
    before = AsyncResult(second.id, parent=first)
    chains = ResultSet([AsyncResult(result.id, parent=AsyncResult(before.id, parent=first)) for result in last])
    with pytest.raises(TimeoutError):
        chains.get(timeout=0)
    hand.end(first)
    statements.clear()
    with pytest.raises(TimeoutError):
        chains.get(timeout=0.2, interval=0.02)
    assert statements.total() <= 40
    hand.end(second, *last)
    assert chains.get(timeout=60) == [1] * 10
    statements.clear()
    chains[0].forget()
    assert statements == {"forget_tasks": 1}
    assert [result.state for result in (first, before, last[0], last[1])] == ["PENDING"] * 3 + ["SUCCESS"]
