"""Workers that end by themselves: what is due is run with all that follows, and the exit code tells of failures."""

from __future__ import annotations

import collections
import contextlib
import os
import random
import re
import subprocess
from functools import partial
from pathlib import Path

import pytest

from lavoro import Lavoro
from lavoro.store.queues import pause
from lavoro.worker.config import FAILED
from tests.conftest import Eventually
from tests.worker.conftest import PATIENCE, Ledger, StartWorker, Worker, rows
from tests.worker.draining import EVERYTHING

SHAPES = [
    pytest.param(["-c", "10"], id="gevent"),
    pytest.param(["-P", "threads", "-c", "3"], id="threads", marks=pytest.mark.slow),
    pytest.param(["-P", "solo"], id="solo", marks=pytest.mark.slow),
    pytest.param(["-P", "prefork", "-c", "3"], id="prefork"),
    pytest.param(["-c", "2", "--processes", "2"], id="two processes"),
]
LEFT = "select stage, name, attempts from lavoro.tasks where stage <> 'finished' order by due_at"


def drained(start_worker: StartWorker, *arguments: str, url: str, code: int = 0, **options: str) -> Worker:
    """A worker that has ended by itself."""
    worker = start_worker("--drain", *arguments, url=url, app="tests.worker.draining", ready=False, **options)
    assert worker.wait() == code, worker.log
    return worker


def last_words(worker: Worker) -> str:
    return worker.log.splitlines()[-1].partition("stopped: ")[2]


@pytest.mark.parametrize("shape", SHAPES)
def test_everything_that_is_due_runs_with_all_that_follows(
    start_worker: StartWorker, sender: Lavoro, migrated_url: str, ledger: Ledger, shape: list[str]
) -> None:
    """Links, bodies, members, retries, and what tasks send at their very end; what is for later stays."""
    for _ in range(3):
        sender.send_task("everything", [0.05])
    sender.send_task("step", countdown=3600)
    worker = drained(start_worker, *shape, url=migrated_url)
    starts = collections.Counter(words[0] for words in ledger.lines() if words[0] != "signal")
    assert starts == {name: 3 * count for name, count in EVERYTHING.items()}
    assert rows(sender, LEFT) == [("waiting", "step", 0)]
    assert last_words(worker) == f"{3 * sum(EVERYTHING.values())} tasks started, none failed; left: 1 due later"


def test_nothing_to_do(start_worker: StartWorker, migrated_url: str) -> None:
    assert last_words(drained(start_worker, url=migrated_url)) == "0 tasks started, none failed; left: none"


def test_what_stays(start_worker: StartWorker, sender: Lavoro, migrated_url: str) -> None:
    """Tasks of paused queues, tasks for later, and tasks that nobody here knows; other queues are not counted."""
    pause(sender.database, ["asleep"])
    sender.send_task("step", queue="asleep")
    sender.send_task("nobody_knows")
    sender.send_task("step", countdown=3600)
    sender.send_task("step", queue="elsewhere")
    worker = drained(start_worker, "-Q", "celery,asleep", url=migrated_url)
    assert last_words(worker) == "0 tasks started, none failed; left: 2 due later, 1 paused"
    assert {row[1:] for row in rows(sender, LEFT)} == {("step", 0), ("nobody_knows", 0)}


def test_the_exit_code_tells_of_failures(start_worker: StartWorker, sender: Lavoro, migrated_url: str) -> None:
    """Also of a task that its supervisor has ended, whose handler sends another; an earlier worker's do not count."""
    sender.send_task("fail")
    sender.send_task("overdue")
    sender.send_task("step")
    worker = drained(start_worker, "-P", "prefork", "-c", "2", url=migrated_url, code=FAILED)
    assert last_words(worker) == "4 tasks started, 2 failed; left: none"
    sender.send_task("step")
    assert last_words(drained(start_worker, url=migrated_url)) == "1 task started, none failed; left: none"


def test_a_process_that_dies(start_worker: StartWorker, sender: Lavoro, migrated_url: str, tmp_path: Path) -> None:
    """Its task comes back at once, and is run by the process that follows."""
    killed = sender.send_task("killed", [str(tmp_path / "died")])
    worker = drained(start_worker, "-P", "prefork", "-c", "2", url=migrated_url)
    assert killed.state == "SUCCESS"
    assert last_words(worker) == "2 tasks started, none failed; left: none"


def test_tasks_of_other_workers_are_not_waited_for(
    start_worker: StartWorker, sender: Lavoro, migrated_url: str, ledger: Ledger, eventually: Eventually, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    other = start_worker("-c", "1", url=migrated_url, app="tests.worker.draining")
    held = sender.send_task("wait_for", [str(gate)])
    eventually(lambda: ledger.lines("wait_for", held.id), timeout=PATIENCE, why="it runs")
    mine = sender.send_task("step")
    drained(start_worker, url=migrated_url)
    assert mine.state == "SUCCESS"
    assert held.state != "SUCCESS"
    gate.touch()
    assert held.get(timeout=PATIENCE) == "waited"
    assert other.stop() == 0


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("drain", [["--drain"], pytest.param([], marks=pytest.mark.slow)], ids=["drain", "on and on"])
def test_no_more_than_the_most(
    start_worker: StartWorker, sender: Lavoro, migrated_url: str, ledger: Ledger, shape: list[str], drain: list[str]
) -> None:
    """Over all processes; what was claimed beyond that waits again, as if it had never been claimed."""
    ids = {sender.send_task("step").id for _ in range(40)}
    worker = start_worker(
        *drain, "--max-tasks", "7", *shape, url=migrated_url, app="tests.worker.draining", ready=False
    )
    assert worker.wait() == 0, worker.log
    started = {words[1] for words in ledger.lines("step")}
    assert len(ledger.lines("step")) == len(started) == 7
    assert started < ids
    assert rows(sender, "select id::text from lavoro.finished where state = 'SUCCESS' and attempt = 1") != []
    assert {row[0] for row in rows(sender, "select id::text from lavoro.waiting")} == ids - started
    assert rows(sender, "select * from lavoro.waiting where attempt + retries + crashes > 0") == []
    assert rows(sender, "select * from lavoro.running") == []
    assert rows(sender, "select * from lavoro.attempt") == []
    assert last_words(worker) == "7 tasks started, none failed; left: 33 due now"


def test_the_most_counts_assigned_tasks_and_waits_for_those_that_run(
    start_worker: StartWorker, sender: Lavoro, migrated_url: str, ledger: Ledger, eventually: Eventually, tmp_path: Path
) -> None:
    """Calls assign tasks to a worker that sleeps: those count too, and go back beyond the most."""
    gate = tmp_path / "gate"
    worker = start_worker("--max-tasks", "4", "-c", "20", "--grace", "0", url=migrated_url, app="tests.worker.draining")
    assert sender.send_task("step").get(timeout=PATIENCE) == 1
    eventually(lambda: rows(sender, "select * from lavoro.offer"), timeout=PATIENCE, why="it offers slots")
    held = sender.send_task("wait_for", [str(gate)])
    eventually(lambda: ledger.lines("wait_for", held.id), timeout=PATIENCE, why="it runs")
    others = [sender.send_task("step") for _ in range(10)]
    eventually(lambda: len(rows(sender, "select * from lavoro.waiting")) == 8, timeout=PATIENCE, why="the others wait")
    assert worker.process.poll() is None
    gate.touch()
    assert worker.wait() == 0
    assert held.state == "SUCCESS"
    assert sorted(result.state for result in others) == ["PENDING"] * 8 + ["SUCCESS"] * 2
    assert last_words(worker) == "4 tasks started, none failed; left: 8 due now"
    assert rows(sender, "select * from lavoro.attempt") == []


def test_a_schedule_that_is_overdue(
    start_worker: StartWorker, sender: Lavoro, migrated_url: str, ledger: Ledger
) -> None:
    """Its task is run, however late the worker gets to look for it."""
    scheduled = {"SCHEDULED": "1"}
    start = partial(start_worker, "--drain", url=migrated_url, app="tests.worker.draining", environment=scheduled)
    assert start(ready=False).wait() == 0
    assert ledger.lines("step") == []
    rows(sender, "update lavoro.schedule set due_at = now() - interval '1 h', next_at = now() - interval '1 h'")
    with sender.database.engine.connect() as connection:
        connection.exec_driver_sql("begin; lock table lavoro.schedule in exclusive mode")
        worker = start()
        with pytest.raises(subprocess.TimeoutExpired):  # it has nothing else to do
            worker.process.wait(3)
        connection.exec_driver_sql("commit")
    assert worker.wait() == 0, worker.log
    assert len(ledger.lines("step")) == 1
    assert last_words(worker) == "1 task started, none failed; left: none"


@pytest.mark.slow
def test_with_the_embedded_database(start_worker: StartWorker, tmp_path: Path) -> None:
    environment = {"LAVORO_DATA_DIR": str(tmp_path / "data")}
    app = Lavoro("embedded", lavoro_data_dir=str(tmp_path / "data"), set_as_current=False)
    try:
        sent = app.send_task("everything", [0.01])
        worker = start_worker(
            "--drain", url="", app="tests.worker.draining", ready=False,
            environment=environment,
        )  # fmt: skip
        assert worker.wait() == 0, worker.log
        assert sent.state == "SUCCESS"
        assert re.search(f"stopped: {sum(EVERYTHING.values())} tasks started, none failed", worker.log)
    finally:
        app.close()


ROUNDS = int(os.environ.get("DRAINS", "2"))
SEVERAL = {"prefork": ["-P", "prefork", "-c", "3"], "two processes": ["-c", "2", "--processes", "2"]}


@pytest.mark.parametrize("shape", [pytest.param("prefork", marks=pytest.mark.slow), "two processes"])
def test_nothing_is_ever_left(
    start_worker: StartWorker, sender: Lavoro, migrated_url: str, ledger: Ledger, shape: str
) -> None:
    """Follow-ups come at all moments, also while the worker is about to end. DRAINS sets the number of rounds."""
    for number in range(ROUNDS):
        for delay in (0.0, 0.13, 0.21, 0.29, 0.07 + 0.01 * (number % 40)):
            sender.send_task("late", [delay, 3])
        sender.send_task("everything", [0.002 * (number % 100)])
        drained(start_worker, *SEVERAL[shape], url=migrated_url)
        assert rows(sender, LEFT) == [], f"round {number}"


@pytest.mark.parametrize("shape", ["prefork", pytest.param("two processes", marks=pytest.mark.slow)])
def test_a_task_that_comes_at_the_end_is_begun_with_all_that_follows_or_not_at_all(
    start_worker: StartWorker, sender: Lavoro, migrated_url: str, shape: str
) -> None:
    """Others send tasks while the worker is about to end. DRAINS sets the number of rounds."""
    pauses = random.Random(14)
    for number in range(ROUNDS):
        sender.send_task("root")
        worker = start_worker("--drain", *SEVERAL[shape], url=migrated_url, app="tests.worker.draining", ready=False)
        while worker.process.poll() is None:
            sender.send_task("root")
            with contextlib.suppress(subprocess.TimeoutExpired):
                worker.process.wait(pauses.uniform(0.1, 0.7))
        assert worker.wait() == 0, worker.log
        left = rows(sender, LEFT)
        assert set(left) <= {("waiting", "root", 0)}, f"round {number}: {left}"
        rows(sender, "delete from lavoro.waiting")
