"""Lists of tasks: filters, and pages that neither skip nor repeat while tasks move."""

from __future__ import annotations

import datetime as dt
import itertools
import random
import uuid
from typing import Any

import pytest

from lavoro.exceptions import InspectorError
from lavoro.inspector import Inspector, Page
from lavoro.protocol import outcome
from lavoro.store import browsing, changing, tasks
from lavoro.store.tx import Tx
from tests.inspector.walking import ERROR, chord, failed
from tests.store.walk import lane, message, rows, send, sent_and_taken, succeeded, take

UTC = dt.timezone.utc


def ids(page: Page) -> list[str]:
    return [task.id for task in page.items]


def test_a_task_of_each_stage(tx: Tx, inspector: Inspector) -> None:
    done = sent_and_taken(tx)
    tasks.finish(tx, 1, [succeeded(done)])
    broken = failed(tx)
    running = sent_and_taken(tx, name="test.run", priority=3, kwargs='{"x":1}')
    waiting, later = send(tx), send(tx, countdown=3600.0)
    _, held = chord(tx)
    found = {uuid.UUID(task.id): task for task in inspector.tasks().items}
    expected = {
        done.id: ("finished", "SUCCESS", None), broken: ("finished", "FAILURE", None),
        running.id: ("running", "STARTED", None), waiting: ("waiting", "PENDING", None),
        later: ("scheduled", "PENDING", None), held: ("held", "PENDING", "waits for 1 of 1 task"),
    }  # fmt: skip
    told = {id: (task.stage, task.state, task.reason) for id, task in found.items()}
    assert {id: told[id] for id in expected} == expected
    assert len(found) == 7
    task = found[running.id]
    assert (task.name, task.queue, task.priority, task.worker, task.attempts) == (
        "test.run", "celery", 3, "node@test", 1,
    )  # fmt: skip
    assert (task.args, task.kwargs, task.error) == ("[1,2]", '{"x":1}', None)
    task = found[broken]
    assert (task.error, task.message, task.runtime, task.worker) == ("ValueError", "no price, for 3", 0.5, "node@test")
    assert task.finished is not None
    assert task.created <= task.finished


def test_the_newest_come_first_and_the_oldest_if_asked(tx: Tx, inspector: Inspector) -> None:
    sent = [str(send(tx)) for _ in range(5)]
    assert ids(inspector.tasks()) == sent[::-1]
    assert ids(inspector.tasks(order="oldest")) == sent


def test_the_latest_end_first(tx: Tx, inspector: Inspector) -> None:
    jobs = [sent_and_taken(tx) for _ in range(4)]
    for job in (jobs[2], jobs[0], jobs[3], jobs[1]):
        tasks.finish(tx, 1, [succeeded(job)])
    send(tx)
    first = inspector.tasks(order="ended", limit=3)
    assert first.next is not None
    second = inspector.tasks(order="ended", limit=3, cursor=first.next)
    assert ids(first) + ids(second) == [str(jobs[place].id) for place in (1, 3, 0, 2)]
    assert second.next is None


def test_an_empty_list(inspector: Inspector) -> None:
    assert inspector.tasks() == Page((), None)
    assert inspector.tasks(state="PENDING", order="ended") == Page((), None)


@pytest.mark.parametrize("order", ["newest", "oldest"])
@pytest.mark.parametrize("seed", range(4))
def test_each_task_comes_once_while_all_of_them_move(tx: Tx, inspector: Inspector, order: str, seed: int) -> None:
    """Between two pages tasks are claimed, finished, requeued, revoked and replayed, and others are sent."""
    chance = random.Random(seed)
    sent = {str(send(tx, queue=f"q{number % 3}")) for number in range(150)}
    sent |= {str(id) for _ in range(10) for members, body in [chord(tx)] for id in (*members, body)}
    running: list[Any] = []

    def move() -> None:
        for _ in range(8):
            match chance.randrange(6):
                case 0 | 1:
                    running.extend(take(tx, lane(f"q{chance.randrange(3)}"), lane(), limit=chance.randrange(1, 20)))
                case 2 if running:
                    tasks.finish(tx, 1, [succeeded(running.pop(chance.randrange(len(running))))])
                case 3 if running:
                    tasks.requeue(tx, 1, [outcome.retrying(running.pop(), countdown=0.0)])
                case 4:
                    tasks.revoke(tx, [uuid.UUID(chance.choice([*sent]))], cancel="{}")
                case 5:
                    changing.replay(tx, [uuid.UUID(chance.choice([*sent]))], states=["SUCCESS", "REVOKED"])
                    send(tx, queue="q0")

    found: list[str] = []
    cursor = None
    for _ in itertools.count():
        page = inspector.tasks(order=order, limit=7, cursor=cursor)
        found += ids(page)
        if (cursor := page.next) is None:
            break
        move()
    assert len(found) == len({*found})
    assert sent - {*found} == set()
    assert {stage for [stage] in rows(tx, "select distinct stage from lavoro.tasks")} > {"held", "finished"}


def test_an_id_that_was_used_again_comes_once_as_it_is_now(tx: Tx, inspector: Inspector) -> None:
    again = [sent_and_taken(tx) for _ in range(3)]
    for job in again:
        tasks.finish(tx, 1, [succeeded(job)])
        tasks.insert(tx, [message(id=job.id)], repeated=False)
    assert [(task.id, task.stage) for task in inspector.iterate()] == [
        (str(job.id), "waiting") for job in reversed(again)
    ]
    one, two = inspector.tasks(limit=2), inspector.tasks(limit=2, cursor=inspector.tasks(limit=2).next)
    assert ids(one) + ids(two) == [str(job.id) for job in reversed(again)]


def test_filters(tx: Tx, inspector: Inspector) -> None:
    four, five = str(failed(tx, queue="mail")), str(failed(tx, ERROR.replace("ValueError", "KeyError")))
    one = str(send(tx, queue="mail", name="shop.mail.send", args="[7]", kwargs='{"to":{"city":"Rome"},"n":3}'))
    two = str(send(tx, queue="stock", name="shop.stock.count", countdown=60.0, args='["a_b"]'))
    three = str(sent_and_taken(tx, name="other_task").id)

    def found(**filter: Any) -> list[str]:
        page = inspector.tasks(order="oldest", **filter)
        assert page.complete
        return ids(page)

    assert found(queue="mail") == [four, one]
    assert found(queue=["mail", "stock"]) == [four, one, two]
    assert found(state="FAILURE") == [four, five]
    assert found(state=["PENDING", "STARTED"]) == [one, two, three]
    assert found(stage="scheduled") == [two]
    assert found(stage="waiting") == [one]
    assert found(stage=["waiting", "scheduled", "running"]) == [one, two, three]
    assert found(name="shop.*") == [one, two]
    assert found(name="*.send") == [one]
    assert found(name="other?task") == found(name="other_task") == [three]
    assert found(name="othe_task") == []
    assert found(name="shop%") == []
    assert found(worker="node@test") == [four, five, three]
    assert found(worker="other@test") == []
    assert found(error="ValueError") == [four]
    assert found(error=["builtins.KeyError", "OSError"]) == [five]
    assert found(args={"to": {"city": "Rome"}}) == [one]
    assert found(args=[7]) == [one]
    assert found(args='$.kwargs.to.city ? (@ == "Rome")') == [one]
    assert found(args="$.kwargs.n > 2") == [one]
    assert found(args="$.kwargs.n > 3") == []
    assert found(queue="mail", state="FAILURE", error="ValueError", name="test.*") == [four]


def test_times(tx: Tx, inspector: Inspector) -> None:
    [first, second, third] = [failed(tx) for _ in range(3)]
    for hours, id in ((3, first), (2, second), (1, third)):
        tx.connection.execute(
            "update lavoro.finished set finished_at = now() - %s * interval '1 hour' where id = %s", (hours, id)
        )
    ago = [dt.datetime.now(UTC) - dt.timedelta(hours=hours) for hours in (2.5, 1.5)]
    for order in ("newest", "ended"):
        assert ids(inspector.tasks(since=ago[0], until=ago[1], order=order)) == [str(second)]
        assert ids(inspector.tasks(since=dt.timedelta(hours=1.5), order=order)) == [str(third)]
        assert ids(inspector.tasks(until=ago[0], order=order)) == [str(first)]


def test_arguments_that_no_index_type_can_hold(tx: Tx, inspector: Inspector) -> None:
    r"""`jsonb` takes neither \u0000 nor half a pair."""
    odd = str(send(tx, kwargs=r'{"text":"a\u0000b","half":"\ud83d","n":1}'))
    assert ids(inspector.tasks(args={"n": 1})) == [odd]


def test_long_arguments_are_cut(tx: Tx, inspector: Inspector) -> None:
    send(tx, args=f'["{"x" * 5000}"]')
    [task] = inspector.tasks().items
    assert task.args == f'["{"x" * 998}...'


def test_an_id_of_the_callers_own(tx: Tx, inspector: Inspector) -> None:
    send(tx, options='{"task_id":"order-7"}')
    assert ids(inspector.tasks()) == ["order-7"]


def test_times_that_python_cannot_hold(tx: Tx, inspector: Inspector) -> None:
    send(tx)
    tx.connection.execute("update lavoro.waiting set due_at = 'infinity', expires_at = '20000-01-01'")
    [task] = inspector.tasks().items
    assert task.due.year == 9999
    assert task.expires is not None
    assert task.expires.year == 9999


FILL = """
    insert into lavoro.finished
        (id, state, worker_id, queue, priority, attempt, retries, crashes, due_at, created_at, name)
    select lpad(to_hex(i), 32, '0')::uuid, 'SUCCESS', 1, 'celery', 0, 1, 0, 0, now(), now(),
        case when i in (30, 20000, 25000) then 'rare' else 'noop' end from generate_series(1, 25001) i"""


def test_a_page_says_that_it_is_not_complete_and_goes_on(tx: Tx, inspector: Inspector) -> None:
    tx.connection.execute(FILL.encode())
    first = inspector.tasks(name="rare")
    assert (len(first.items), first.complete) == (2, False)
    second = inspector.tasks(name="rare", cursor=first.next)
    assert (len(second.items), second.complete) == (0, False)
    third = inspector.tasks(name="rare", cursor=second.next)
    assert (len(third.items), third.complete, third.next) == (1, True, None)
    assert [int(task.id.replace("-", ""), 16) for task in inspector.iterate(name="rare")] == [25000, 20000, 30]
    assert [int(task.id.replace("-", ""), 16) for task in inspector.iterate(name="rare", order="oldest")] == [
        30, 20000, 25000,
    ]  # fmt: skip
    assert browsing.SCANNED == 10_000


def test_tasks_beside_a_table_that_was_not_read_to_its_end(tx: Tx, inspector: Inspector) -> None:
    """A task of another table comes in its place, which is not before the end of what was read."""
    tx.connection.execute(FILL.encode())
    last = uuid.UUID(int=100)
    tasks.insert(tx, [message(id=last, name="rare")])
    found = [int(task.id.replace("-", ""), 16) for task in inspector.iterate(name="rare")]
    assert found == [25000, 20000, 100, 30]


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"stage": "sleeping"}, "stage is one of waiting, scheduled, held, running, finished, not 'sleeping'"),
    ({"order": "best"}, "order is one of newest, oldest, ended, not 'best'"),
    ({"limit": 0}, "limit is a whole number from 1 to 1,000, not 0"),
    ({"limit": 5000}, "limit is a whole number from 1 to 1,000, not 5000"),
    ({"key": "a"}, "keys come with unique tasks, which this release does not have"),
    ({"queue": 3}, "queue is a text or several, not 3"),
    ({"queue": []}, "queue is an empty list"),
    ({"since": dt.datetime(2026, 1, 1)}, "since is a time with a zone"),
    ({"since": dt.timedelta(hours=1), "until": dt.timedelta(hours=2)}, "is not before until="),
    ({"args": 7}, "args is a JSON path"),
    ({"args": "$.kwargs["}, "the JSON path '$.kwargs[' is wrong: syntax error"),
    ({"cursor": "nonsense"}, "'nonsense' is no cursor: give the next of a page, unchanged"),
    ({"cursor": "\u00e9"}, "is no cursor"),
    ({"name": 7}, "name is the name of a task"),
    ({"worker": 7}, "worker is the name of a node, not 7"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "text"), WRONG, ids=[f"{number}" for number in range(len(WRONG))])
def test_wrong_questions_are_answered_in_words(inspector: Inspector, arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(InspectorError) as raised:
        inspector.tasks(**arguments)
    assert text in str(raised.value)


def test_a_cursor_of_another_order(tx: Tx, inspector: Inspector) -> None:
    for _ in range(2):
        send(tx)
    cursor = inspector.tasks(limit=1).next
    with pytest.raises(InspectorError, match="the cursor is of a list in the order 'newest', not 'oldest'"):
        inspector.tasks(cursor=cursor, order="oldest")
