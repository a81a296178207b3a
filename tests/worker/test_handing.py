"""Tasks that calls claim for a worker at rest: it runs them, and whatever becomes of it they are not lost."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable, Iterator

import psycopg
import pytest

from lavoro import Lavoro
from tests.conftest import Eventually
from tests.worker.conftest import PATIENCE, Ledger, StartWorker, Worker, rows

HandOver = Callable[..., str]


@pytest.fixture
def hand_over(sender: Lavoro, migrated_url: str) -> Iterator[HandOver]:
    """Send a task until one is handed over; return its id. The others have ended before."""
    with psycopg.connect(migrated_url, autocommit=True) as ears:
        ears.execute("listen lavoro_wake")

        def handed(*call: object) -> list[str]:
            sent = sender.send_task(*call)
            heard = [found for told in ears.notifies(timeout=0.1) if (found := re.match(r">\d+:(.*)", told.payload))]
            if heard:
                assert [found[1] for found in heard] == [sent.id]
                return [sent.id]
            sent.get(timeout=PATIENCE)
            return []

        def hand_over(*call: object, eventually: Eventually) -> str:
            return eventually(lambda: handed(*call), timeout=PATIENCE, why="a task is handed over")[0]

        yield hand_over


@pytest.fixture
def worker(start_worker: StartWorker, sender: Lavoro, migrated_url: str) -> Worker:
    return start_worker("-c", "32", url=migrated_url)


def test_it_runs_like_any_other(worker: Worker, sender: Lavoro, hand_over: HandOver, eventually: Eventually) -> None:
    id = hand_over("add", [1, 2], eventually=eventually)
    assert sender.AsyncResult(id).get(timeout=PATIENCE) == 3
    assert rows(sender, f"select attempt, crashes, state from lavoro.finished where id = '{id}'") == [(1, 0, "SUCCESS")]
    assert worker.stop() == 0
    assert rows(sender, "select * from lavoro.offer") == []
    assert rows(sender, "select * from lavoro.attempt") == []


def test_what_a_process_did_not_live_to_take_in_runs_in_the_next(
    worker: Worker, sender: Lavoro, hand_over: HandOver, eventually: Eventually, ledger: Ledger
) -> None:
    """Its start is recorded as lost, and no crash is counted: it had not begun."""
    hand_over("add", [1, 2], eventually=eventually)
    (child,) = worker.children
    child.send_signal(signal.SIGSTOP)
    sent = sender.send_task("where")
    eventually(lambda: rows(sender, f"select 1 from lavoro.running where id = '{sent.id}'"), why="it is handed over")
    child.kill()
    assert sent.get(timeout=PATIENCE) not in (child.pid, os.getpid())
    assert rows(sender, f"select attempt, crashes from lavoro.finished where id = '{sent.id}'") == [(2, 0)]
    assert rows(sender, f"select state from lavoro.attempt where id = '{sent.id}'") == [("LOST",)]


def test_what_is_handed_to_a_worker_that_is_told_to_stop_goes_back(
    worker: Worker, sender: Lavoro, hand_over: HandOver, eventually: Eventually
) -> None:
    hand_over("add", [1, 2], eventually=eventually)
    (child,) = worker.children
    child.send_signal(signal.SIGSTOP)
    sent = sender.send_task("where")
    eventually(lambda: rows(sender, f"select 1 from lavoro.running where id = '{sent.id}'"), why="it is handed over")
    worker.send(signal.SIGTERM)
    worker.until("SIGTERM")
    child.send_signal(signal.SIGCONT)
    assert worker.wait() == 0
    found = rows(sender, f"select stage, attempt from lavoro.tasks where id = '{sent.id}'")
    assert found in ([("waiting", 0)], [("finished", 1)])
    assert rows(sender, "select * from lavoro.offer") == []
