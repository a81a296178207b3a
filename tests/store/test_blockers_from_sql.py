"""Tasks that SQL sends and that wait for others: `lavoro.enqueue` with blockers."""

from __future__ import annotations

import json
import uuid

import psycopg
import pytest

from lavoro.protocol import outcome
from lavoro.protocol.ids import uuid7
from lavoro.protocol.place import Place
from lavoro.store import offers, tasks
from lavoro.store.database import Database
from lavoro.store.tx import Tx
from tests.store.walk import heard, lane, message, rows, send, stage_of, stored, succeeded, take, value

ERROR = '{"exc_type":"ValueError","exc_message":["boom"],"exc_module":"builtins"}'


def blocked(tx: Tx, *ids: uuid.UUID, more: str = "") -> uuid.UUID:
    """Send a task that waits for these; return its id."""
    query = f"select lavoro.enqueue('a.b', '[5]', queue => 'blocked', blockers => %s{more})"
    found: uuid.UUID = value(tx, query, list(ids))
    return found


def test_a_task_from_sql_starts_when_its_blockers_have_ended(tx: Tx) -> None:
    ids = [send(tx), send(tx)]
    id = blocked(tx, ids[0], ids[1], ids[0], more=", priority => 3, kwargs => '{\"k\": 1}'")
    assert stored(tx, id).reason == "waits for 2 of 2 tasks"
    first, second = take(tx)
    tasks.finish(tx, 1, [succeeded(first)])
    assert stage_of(tx, id) == "held"
    tasks.finish(tx, 1, [succeeded(second)])
    [job] = take(tx, lane("blocked", 3))
    assert (job.id, job.name, job.args, job.kwargs, job.attempt) == (id, "a.b", "[5]", '{"k": 1}', 1)


def test_without_blockers_it_is_a_plain_task(tx: Tx) -> None:
    for given in ("blockers => '{}'", "blockers => null", "failure_policy => 'fail'"):
        assert stage_of(tx, value(tx, f"select lavoro.enqueue('a.b', {given})")) == "waiting"
    assert value(tx, "select count(*) from lavoro.barrier") == 0


@pytest.mark.parametrize(("policy", "stage"), [("fail", "finished"), ("wait", "held"), ("run", "held")])
def test_a_blocker_that_fails_counts_by_the_policy(tx: Tx, policy: str, stage: str) -> None:
    ids = [send(tx), send(tx)]
    id = blocked(tx, *ids, more=f", failure_policy => '{policy}'")
    first, second = take(tx)
    tasks.finish(tx, 1, [outcome.failed(first, ERROR, None)])
    assert stage_of(tx, id) == stage
    tasks.finish(tx, 1, [succeeded(second)])
    assert [job.id for job in take(tx, lane("blocked"))] == ([id] if policy == "run" else [])
    if policy != "run":
        assert json.loads(stored(tx, id).result or "")["exc_message"] == [
            f"Dependency {first.id} raised ValueError('boom')"
        ]


def test_an_unknown_blocker_fails_the_task(tx: Tx) -> None:
    id = blocked(tx, uuid.uuid4())
    assert "no task of this id is stored" in (stored(tx, id).result or "")


def test_times_of_a_blocked_task(tx: Tx) -> None:
    """A countdown counts from the release on, and an ETA stays as it is."""
    later = blocked(tx, send(tx), more=", countdown => 60")
    at = blocked(tx, send(tx), more=", eta => '2100-01-01 00:00+00'")
    tasks.finish(tx, 1, [succeeded(job) for job in take(tx)])
    query = "select extract(epoch from due_at - clock_timestamp()) > %s from lavoro.waiting where id = %s"
    assert (value(tx, query, 50, later), value(tx, query, 50, at)) == (True, True)


def test_it_belongs_to_the_callers_transaction(tx: Tx) -> None:
    blocker = send(tx)
    with tx.connection.transaction(force_rollback=True):
        id = blocked(tx, blocker)
        assert stage_of(tx, id) == "held"
    assert stage_of(tx, id) is None
    assert value(tx, "select barriers from lavoro.waiting where id = %s", blocker) is None


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("blockers => %s, failure_policy => 'often'", "failure_policy must be 'fail', 'wait' or 'run', not 'often'"),
        ("blockers => %s, failure_policy => null", "failure_policy must be 'fail', 'wait' or 'run', not NULL"),
        ("blockers => %s || null::uuid", "blockers must be ids of tasks, and one of them is null"),
        ("blockers => %s, wake => false", "a task with blockers needs wake => true"),
        ("failure_policy => 'run', args => to_json(%s)", "failure_policy needs blockers"),
        ("blockers => %s, id => (select id from lavoro.held)", "is stored already"),
    ],
)
def test_wrong_input_gets_a_sentence(tx: Tx, given: str, sentence: str) -> None:
    id = blocked(tx, blocker := send(tx))
    with pytest.raises(psycopg.Error) as caught:
        value(tx, f"select lavoro.enqueue('a.b', {given})", [blocker])
    assert caught.value.diag.message_primary is not None
    assert sentence in caught.value.diag.message_primary
    assert rows(tx, "select id from lavoro.held") == [(id,)]


def test_a_task_that_would_wait_for_itself_is_refused(tx: Tx) -> None:
    own = uuid7()
    with pytest.raises(psycopg.Error, match=f"task {own} would wait for itself"):
        blocked(tx, own, more=f", id => '{own}'")
    first = blocked(tx, send(tx))
    with pytest.raises(psycopg.Error, match="is stored already"):  # else the first would wait for the second, in turn
        blocked(tx, blocked(tx, first), more=f", id => '{first}'")


@pytest.mark.parametrize("by", ["sql", "python"])
def test_a_task_whose_blockers_are_over_wakes_workers_when_the_callers_transaction_commits(
    tx: Tx, database: Database, by: str
) -> None:
    """A worker may fall asleep before that commit. So each is notified, and none has the task assigned before it."""
    done = send(tx)
    tasks.finish(tx, 1, [succeeded(job) for job in take(tx)])
    rows(tx, "update lavoro.worker set queues = array['blocked'] returning 1")
    offers.offer(tx, 1, {"blocked": 1}, seconds=60)
    listener = database.open("listener").connection
    listener.execute("listen lavoro_wake")
    with tx.connection.transaction():
        if by == "sql":
            id = blocked(tx, done)
        else:
            sent = message(queue="blocked", place=Place(None, None, 1, (done,)))
            tasks.insert(tx, [sent], always_wake=True)
            id = sent.id
    assert heard(listener) == ["due:0:blocked"]
    listener.close()
    assert stage_of(tx, id) == "waiting"
    assert value(tx, "select count(*) from lavoro.offer") == 1
