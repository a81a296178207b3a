"""`lavoro beat`, and workers with -B: in processes that may be killed, with Lavoro's scheduler or a class."""

from __future__ import annotations

import os
import signal
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from lavoro import Lavoro
from lavoro.beat.scheduler import PersistentScheduler
from lavoro.beat.service import EmbeddedService
from tests import copies
from tests.conftest import Eventually
from tests.worker.conftest import PATIENCE, ROOT, StartWorker, Worker, rows

APP = """
import os, pathlib
from lavoro import Lavoro, signals
from lavoro.beat.scheduler import PersistentScheduler

here = pathlib.Path(__file__).parent
app = Lavoro("shop")

def note(*words):
    with (here / "notes").open("a") as file:
        print(*words, file=file)

@app.task(name="note")
def task(text):
    note("ran", text)

class Own(PersistentScheduler):
    max_interval = 1

    def setup_schedule(self):
        super().setup_schedule()
        note("set", "up", self.schedule["often"].total_run_count)

    def apply_entry(self, entry, producer=None):
        super().apply_entry(entry, producer)
        note("sent", entry.total_run_count, os.getpid())

    def close(self):
        super().close()
        note("closed")

@signals.beat_init.connect
def begin(sender, **_):
    note("begin", type(sender.scheduler).__name__)

@signals.beat_embedded_init.connect
def embedded(sender, **_):
    note("embedded")

app.conf.beat_schedule = {"often": {"task": "note", "schedule": 0.2, "args": ["often"]}}
"""

Start = Callable[..., Worker]


class Shop:
    """A folder with the application, and the file in which its processes note things."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "shop.py").write_text(APP)

    @property
    def environment(self) -> dict[str, str]:
        """Variables with which a process finds the application."""
        return {"PYTHONPATH": os.pathsep.join([str(ROOT), str(self.folder)])}

    def lines(self, *words: str) -> list[list[str]]:
        """The lines that begin so, in words."""
        path = self.folder / "notes"
        lines = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
        return [line for line in lines if line[: len(words)] == list(words)]


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


@pytest.fixture
def start_beat(shop: Shop, tmp_path: Path, migrated_url: str, eventually: Eventually) -> Iterator[Start]:
    """Start `lavoro beat`, and end all."""
    started: list[Worker] = []

    def start(*arguments: str, ready: bool = True) -> Worker:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("LAVORO_")}
        environment |= {"LAVORO_DATABASE_URL": migrated_url, **shop.environment}
        log = tmp_path / f"beat-{uuid.uuid4().hex[:8]}.log"
        command = ["lavoro", "beat", "-A", "shop:app", "-l", "info", *arguments]
        with log.open("wb") as file:
            process = copies.start(*command, environment=environment, folder=ROOT, output=file)
        beat = Worker(process, log, eventually)
        started.append(beat)
        if ready:
            beat.until("beat ready: ")
        return beat

    yield start
    for beat in started:
        beat.destroy()


def execute(url: str, statement: str) -> None:
    """Run a statement."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement.encode())


def sent(sender: Lavoro, schedule: str = "often") -> int:
    """The number of ticks that were sent."""
    return int(
        rows(sender, f"select count(*) from lavoro.tick where outcome = 'sent' and schedule = '{schedule}'")[0][0]
    )


def test_beat_sends_and_stops_in_order(
    shop: Shop, start_beat: Start, sender: Lavoro, migrated_url: str, tmp_path: Path, eventually: Eventually
) -> None:
    """It hears of a schedule that is made while it waits, without a worker."""
    (shop.folder / "shop.py").write_text(APP.replace("0.2", "3600"))
    pidfile = tmp_path / "pid"
    beat = start_beat("--pidfile", str(pidfile), "--", "beat.max_loop_interval=3000")
    eventually(lambda: rows(sender, "select name from lavoro.schedule") == [("often",)], timeout=PATIENCE)
    assert int(pidfile.read_text()) == beat.process.pid
    eventually(lambda: shop.lines("begin") == [["begin", "PersistentScheduler"]], timeout=PATIENCE)
    execute(
        migrated_url,
        "insert into lavoro.schedule (name, task, args, timing) values ('new', 'note', '[1]', '@every 0.3s')",
    )
    eventually(lambda: sent(sender, "new") >= 1, timeout=PATIENCE)
    assert beat.stop() == 0
    assert not pidfile.exists()
    assert beat.log.rstrip().endswith("beat stopped")
    assert shop.lines("embedded") == []


def test_beat_does_what_a_worker_leaves(
    shop: Shop, start_beat: Start, start_worker: StartWorker, sender: Lavoro, migrated_url: str, eventually: Eventually
) -> None:
    worker = start_worker("--no-beat", url=migrated_url, app="shop:app", environment=shop.environment)
    beat = start_beat()
    eventually(lambda: len(shop.lines("ran", "often")) >= 3, timeout=PATIENCE)
    assert beat.stop() == 0
    known = sent(sender)
    assert worker.stop() == 0
    assert sent(sender) == known
    assert shop.lines("embedded") == []


def test_worker_sends_with_the_option_whatever_the_setting_is(
    shop: Shop, start_worker: StartWorker, sender: Lavoro, migrated_url: str, eventually: Eventually
) -> None:
    (shop.folder / "shop.py").write_text(APP + "app.conf.lavoro_run_schedules = False\n")
    worker = start_worker("-B", "-s", "file", "-c", "2", url=migrated_url, app="shop:app", environment=shop.environment)
    eventually(lambda: len(shop.lines("ran", "often")) >= 2, timeout=PATIENCE)
    assert worker.stop() == 0
    assert (len(shop.lines("begin")), len(shop.lines("embedded"))) == (1, 1)
    known = sent(sender)
    worker = start_worker(url=migrated_url, app="shop:app", environment=shop.environment)
    assert worker.stop() == 0
    assert sent(sender) == known


def test_one_process_of_all_runs_a_scheduler_class(
    shop: Shop, start_beat: Start, start_worker: StartWorker, sender: Lavoro, migrated_url: str, eventually: Eventually
) -> None:
    """The other one takes over from it when it is killed, and goes on with the runs of its entries."""
    worker = start_worker("--scheduler", "shop.Own", url=migrated_url, app="shop:app", environment=shop.environment)
    eventually(lambda: len(shop.lines("sent")) >= 3, timeout=PATIENCE)
    other = start_beat("-S", "shop:Own")
    eventually(lambda: len(shop.lines("sent")) >= 6, timeout=PATIENCE)
    assert len({line[2] for line in shop.lines("sent")}) == 1
    children = worker.children
    for child in children:
        child.suspend()  # else it would notice the end of the supervisor, and give the lease back
    worker.send(signal.SIGKILL)
    worker.wait()
    for child in children:
        child.kill()
    killed = shop.lines("sent")
    eventually(lambda: len(shop.lines("sent")) >= len(killed) + 4, timeout=PATIENCE)
    assert other.stop() == 0
    counts = [int(line[1]) for line in shop.lines("sent")]
    assert counts == sorted(set(counts))
    assert len({line[2] for line in shop.lines("sent")}) == 2
    assert next(int(line[2]) for line in shop.lines("set", "up")) == 0
    assert int(shop.lines("set", "up")[-1][2]) in (counts[len(killed) - 1] + 1, counts[len(killed) - 1] + 2)
    assert shop.lines("begin") == [["begin", "Own"]] * 2
    assert shop.lines("closed") == [["closed"]]
    assert rows(sender, "select count(*) from lavoro.tick") == [(0,)]
    assert rows(sender, "select count(*) from lavoro.leader where name like 'scheduler of %%' and until > now()") == [
        (0,)
    ]


def test_a_worker_that_does_not_know_the_class_leaves_the_entries_to_it(
    shop: Shop, start_beat: Start, start_worker: StartWorker, sender: Lavoro, migrated_url: str, eventually: Eventually
) -> None:
    """`lavoro beat -S` names it on its command line alone; else each entry would be sent twice."""
    before = start_worker(url=migrated_url, app="shop:app", environment=shop.environment)
    eventually(lambda: sent(sender) >= 1, timeout=PATIENCE)
    beat = start_beat("-S", "shop:Own")
    eventually(lambda: len(shop.lines("sent")) >= 1, timeout=PATIENCE)
    assert rows(sender, "select name from lavoro.schedule") == []
    after = start_worker(url=migrated_url, app="shop:app", environment=shop.environment)
    after.until("schedules left to the scheduler class of another process: often")
    ticks = sent(sender)
    known = len(shop.lines("sent"))
    eventually(lambda: len(shop.lines("sent")) >= known + 3, timeout=PATIENCE)
    assert (rows(sender, "select name from lavoro.schedule"), sent(sender)) == ([], ticks)
    for process in (beat, before, after):
        assert process.stop() == 0


def test_a_class_that_cannot_be_imported_stops_the_start(
    shop: Shop, start_beat: Start, start_worker: StartWorker, migrated_url: str
) -> None:
    words = "the scheduler class 'no.such:Class' cannot be imported"
    beat = start_beat("-S", "no.such:Class", ready=False)
    assert beat.wait() == 1
    assert words in beat.log
    worker = start_worker(
        "-B",
        "--scheduler",
        "no.such:Class",
        url=migrated_url,
        app="shop:app",
        ready=False,
        environment=shop.environment,
    )
    assert worker.wait() == 1
    assert words in worker.log


# In this process


@pytest.fixture
def keeping(sender: Lavoro) -> Lavoro:
    sender.conf.beat_schedule = {name: {"task": "far.away", "schedule": 3600} for name in ("a", "b")}
    return sender


def test_entries_keep_their_runs_in_the_database(keeping: Lavoro) -> None:
    first = PersistentScheduler(keeping, schedule_filename="file")
    assert first.schedule_filename == "file"
    first.apply_async(first.schedule["a"])
    sent_at = first.schedule["a"].last_run_at
    again = PersistentScheduler(app=keeping)
    assert (again.schedule["a"].last_run_at, again.schedule["a"].total_run_count) == (sent_at, 1)
    assert again.schedule["b"].total_run_count == 0
    del keeping.conf.beat_schedule["a"]
    PersistentScheduler(keeping).close()
    assert rows(keeping, "select name from lavoro.scheduler_entry") == [("b",)]
    assert not Path("file").exists()


def test_a_run_that_cannot_be_stored_is_not_sent(keeping: Lavoro, migrated_url: str) -> None:
    """The entry stays due, and is tried again."""
    scheduler = PersistentScheduler(keeping)
    scheduler.schedule["a"].last_run_at -= scheduler.schedule["a"].schedule.run_every * 2
    execute(migrated_url, "alter table lavoro.scheduler_entry add constraint full_up check (runs < 1)")
    with pytest.raises(Exception, match="full_up"):
        scheduler.tick()
    assert scheduler.schedule["a"].total_run_count == 0
    execute(migrated_url, "alter table lavoro.scheduler_entry drop constraint full_up")
    assert scheduler.tick() == 0
    assert scheduler.schedule["a"].total_run_count == 1
    assert rows(keeping, "select count(*) from lavoro.waiting") == [(1,)]


def test_embedded_service(keeping: Lavoro, eventually: Eventually) -> None:
    keeping.conf.beat_schedule = {"a": {"task": "far.away", "schedule": 0.1, "overlap": "allow"}}
    keeping.task(lambda: None, name="far.away")
    service: Any = EmbeddedService(keeping)
    service.start()
    eventually(lambda: sent(keeping, "a") >= 2, timeout=PATIENCE)
    service.stop()
    service.join(PATIENCE)
    assert not service.is_alive()
