"""What tasks say: none says so much that others wait, and the log tells each task's life in lines of its own."""

from __future__ import annotations

import math
import re
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from lavoro import Lavoro
from lavoro.protocol import outcome
from lavoro.protocol.ids import uuid7
from lavoro.protocol.message import Job
from lavoro.store import session
from lavoro.store.database import Database
from lavoro.store.errors import LOST
from lavoro.worker.child import finisher as finishing
from lavoro.worker.child.finisher import Finisher
from lavoro.worker.child.in_flight import InFlight
from tests.conftest import Eventually
from tests.executor.run import job_of
from tests.worker.conftest import StartWorker, rows

APP = "tests.worker.words"


def test_errors_and_results_of_any_size_hold_up_nobody(start_worker: StartWorker, sender: Lavoro) -> None:
    worker = start_worker("-c", "4", url=sender.database.url, app=APP)
    shouts = [sender.send_task("shout", [200_000_000]) for _ in range(2)]
    results = [sender.send_task("give", [15_000_000]) for _ in range(4)]
    quick = [sender.send_task("add", [number, 1]) for number in range(20)]
    assert [result.get(timeout=60) for result in quick] == list(range(1, 21))
    assert [len(result.get(timeout=60)) for result in results] == [15_000_000] * 4  # type: ignore[arg-type]
    for shout in shouts:
        with pytest.raises(ValueError, match=r"^x{100000}\.\.\. \(cut: 199900000 more characters\)$"):
            shout.get(timeout=60)
        assert "    raise ValueError" in (shout.traceback or "")
    assert worker.stop() == 0
    assert max(map(len, worker.log.splitlines())) < 30_000


def test_progress_never_fails_a_task(start_worker: StartWorker, sender: Lavoro) -> None:
    """What is too long is left out with a warning; a state of any text can be stored."""
    worker = start_worker(url=sender.database.url, app=APP)
    assert sender.send_task("report", ["PROGRESS", 999_000]).get(timeout=60) == "PROGRESS 999000"
    long = sender.send_task("report", ["PROGRESS", 2_000_000])
    assert long.get(timeout=60) == "SMALL 1"
    worker.until(f"progress of report[{long.id}] is not stored: it has 2000002 characters, more than 1000000")
    assert sender.send_task("report", ["a\x00b\ud800", 3]).get(timeout=60) == r"a\x00b\ud800 3"
    assert sender.send_task("report", ["x" * 1000, 3]).get(timeout=60) == f"{'x' * 100}... (cut: 900 more characters) 3"


def _job() -> Job:
    class Named:
        name = "add"

    return job_of(Named)


class Storing:
    """A finisher whose steps the test takes itself; the database has none of its tasks, and refuses the outcomes."""

    def __init__(self, database: Database) -> None:
        self.in_flight = InFlight()
        self.finisher = Finisher(database, self.in_flight, worker_id=1)

    def put(self, *sizes: int) -> None:
        """Have outcomes of these sizes stored."""
        for size in sizes:
            job = _job()._replace(id=uuid7())
            self.in_flight.add([job])
            self.finisher.put(outcome.succeeded(job, "x" * size, 0.0))

    def batch(self) -> int:
        """Take a step; return how many outcomes were in its batch."""
        before = self.in_flight.count
        self.finisher.step()
        return before - self.in_flight.count


@pytest.fixture
def storing(migrated_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Storing]:
    monkeypatch.setattr(session, "IDLE", math.inf)  # else a slow machine finds a cut connection before it is used
    database = Database(migrated_url)
    storing = Storing(database)
    yield storing
    storing.finisher.close()
    database.dispose()


def test_a_batch_has_a_size(storing: Storing) -> None:
    half, whole = finishing.LARGE // 2, finishing.LARGE
    storing.put(1, 1, half, half, whole + 1, whole + 1, 1)
    assert [storing.batch() for _ in range(6)] == [3, 1, 1, 1, 1, 0]


def test_a_large_outcome_that_cannot_be_stored_lets_others_go_first(storing: Storing, migrated_url: str) -> None:
    large, small = finishing.LARGE + 1, 1
    assert storing.batch() == 0
    database = Database(migrated_url)
    for order in ([large, small], [small, large]):
        storing.put(*order)
        ids = dict(zip(order, storing.in_flight.ids(), strict=True))
        with database.engine.connect() as connection:
            connection.execute(
                sa.text(
                    "select pg_terminate_backend(pid) from pg_stat_activity"
                    " where datname = current_database() and application_name = 'lavoro-finisher'"
                )
            )
        with pytest.raises(LOST):
            storing.batch()
        assert storing.batch() == 1
        assert storing.in_flight.ids() == [ids[large]]
        assert storing.batch() == 1
    database.dispose()


@pytest.mark.parametrize("pool", ["gevent", pytest.param("threads", marks=pytest.mark.slow), "solo"])
def test_what_a_failed_task_held_is_free_at_once(start_worker: StartWorker, sender: Lavoro, pool: str) -> None:
    worker = start_worker("-P", pool, *(["-c", "3"] if pool != "solo" else []), url=sender.database.url, app=APP)
    for how in ["failure", "soft limit"] * 3:
        assert sender.send_task("hold", [how]).get(timeout=60, propagate=False)
    assert sender.send_task("look").get(timeout=60) == [6, 0]
    assert worker.stop() == 0


# The log


EVIL = "a\n[2026-01-01 00:00:00,000: ERROR/gevent-0] forged\x1b[2J\x1b]0;title\x07\u202e"


def test_nobody_who_may_send_tasks_can_forge_a_line(start_worker: StartWorker, sender: Lavoro) -> None:
    worker = start_worker(url=sender.database.url, app=APP)
    with sender.database.engine.connect() as connection:
        for name in (EVIL, "speak" + EVIL):
            enqueue = sa.text("select lavoro.enqueue(:name, '[]', queue => 'celery')")
            connection.execute(enqueue, {"name": name})
        insert = sa.text(
            "insert into lavoro.waiting (id, queue, name, options) values (:id, 'celery', 'add', :options)"
        )
        options = '{"task_id": "\\u001b[2J\\n[2026-01-01 00:00:00,000: ERROR/gevent-0] forged"}'
        connection.execute(insert, {"id": str(uuid.uuid4()), "options": options})
    sender.send_task("speak", [EVIL]).get(timeout=60)
    worker.until("received unregistered task speak")
    worker.until("raised unexpected: TypeError")
    assert worker.stop() == 0
    assert r"logged a\n[2026" not in worker.log  # what a task itself says may have lines ...
    assert re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", worker.log) is None  # ... and nothing that acts
    forged = [line for line in worker.log.splitlines() if line.startswith("[2026-01-01 00:00:00,000: ERROR/gevent-0]")]
    assert len(forged) == 1  # by the task's own logger; its print has become a line of its own
    assert len([line for line in worker.log.splitlines() if "received unregistered task" in line]) >= 2
    (reason,) = {row[0] for row in rows(sender, "select reason from lavoro.waiting where name like 'speak%%'")}
    assert r"knows no task 'speaka\n[2026-01-01" in reason


@pytest.mark.parametrize("pool", ["gevent", "threads"])
def test_what_tasks_print_side_by_side_is_kept_apart(start_worker: StartWorker, sender: Lavoro, pool: str) -> None:
    worker = start_worker("-P", pool, "-c", "4", url=sender.database.url, app=APP)
    sent = {word: sender.send_task("mumble", [word]) for word in "abcd"}
    for result in sent.values():
        result.get(timeout=60)
    assert worker.stop() == 0
    for word, result in sent.items():
        assert f"mumble[{result.id}]: {word}0 {word}1 {word}2 \n" in worker.log


def test_the_life_of_a_task_in_the_log(start_worker: StartWorker, sender: Lavoro) -> None:
    worker = start_worker("-l", "debug", url=sender.database.url, app=APP)
    result = sender.send_task("add", [1, 2])
    named = sender.send_task("add", [3, 4], task_id="my own id")
    assert (result.get(timeout=60), named.get(timeout=60)) == (3, 7)
    assert worker.stop() == 0
    for id, value in ((result.id, 3), ("my own id", 7)):
        told = [line for line in worker.log.splitlines() if f"Task add[{id}]" in line]
        assert [re.sub(r".*\[.*\] | in .*", "", line) for line in told] == ["received", "started", "succeeded"]
        assert [re.findall(r": (\w+)/gevent-0\]", line) for line in told] == [["INFO"], ["DEBUG"], ["INFO"]]
        assert told[-1].endswith(f": {value}")


def test_info_tells_less_and_the_default_nothing(start_worker: StartWorker, sender: Lavoro) -> None:
    for level, lines in (("info", 2), ("warning", 0)):
        worker = start_worker("-l", level, "-n", level, url=sender.database.url, app=APP, ready=False)
        result = sender.send_task("add", [1, 2])
        assert result.get(timeout=60) == 3
        assert worker.stop() == 0
        assert len([line for line in worker.log.splitlines() if f"Task add[{result.id}]" in line]) == lines


def test_a_log_that_is_rotated(
    start_worker: StartWorker, sender: Lavoro, tmp_path: Path, eventually: Eventually
) -> None:
    """By the supervisor and by each of its processes."""
    path, moved = tmp_path / "w.log", tmp_path / "w.log.1"
    worker = start_worker("-f", str(path), "--processes", "2", url=sender.database.url, app=APP, ready=False)
    eventually(lambda: path.exists() and " ready: " in path.read_text(), timeout=60)
    path.rename(moved)
    before = moved.read_text()
    pids = set()
    while len(pids) < 2:
        pids.update([result.get(timeout=60) for result in [sender.send_task("pid") for _ in range(20)]])
    assert worker.stop() == 0
    assert moved.read_text() == before
    assert {name for name in ("gevent-0", "gevent-1", "MainProcess") if f"INFO/{name}]" in path.read_text()} == {
        "gevent-0", "gevent-1", "MainProcess",
    }  # fmt: skip
