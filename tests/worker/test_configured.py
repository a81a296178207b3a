"""What settings say about a worker, at its start and when it is told to reload."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from pathlib import Path

import psycopg
import pytest

from lavoro import Lavoro, serialization
from lavoro.worker.supervisor.renewal import STUCK
from tests.conftest import Eventually
from tests.worker.conftest import PATIENCE, ROOT, StartWorker, Worker, rows

APP = """
import json, os, pathlib, sys
from lavoro import Lavoro, serialization, signals
from lavoro.log import get_task_logger

here = pathlib.Path(__file__).parent
app = Lavoro("shop", **json.loads((here / "settings.json").read_text()))

@signals.worker_init.connect
def initialize(**kwargs):
    raise {failure}("on purpose")

@signals.task_received.connect
def received(request, **kwargs):
    with (here / "received").open("a") as file:
        print(request.id, request.name, *request.args, request.delivery_info["routing_key"], file=file)

def read(data):
    with (here / "read").open("a") as file:
        print("read", file=file)
    return json.loads(data)

serialization.register("counted", json.dumps, read, "application/x-counted", "utf-8")

@app.task(name="talk")
def talk(text):
    print("printed", text)
    print("complained", file=sys.stderr)
    get_task_logger("shop").warning("logged %s", text)
    return os.getpid()
"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """The folder of an application whose settings lie in a file."""
    (tmp_path / "shop.py").write_text(APP.replace("{failure}", "ValueError"))
    return tmp_path


def configure(shop: Path, **settings: object) -> dict[str, str]:
    """Write the settings; return the environment in which the application is found."""
    (shop / "settings.json").write_text(json.dumps(settings))
    return {"PYTHONPATH": os.pathsep.join([str(shop), str(ROOT)])}


def test_logs(start_worker: StartWorker, sender: Lavoro, migrated_url: str, shop: Path) -> None:
    """The formats are those of the settings, prints are logged without a log file too, a receiver may fail."""
    environment = configure(
        shop, worker_log_format="W|%(levelname)s|%(message)s", worker_task_log_format="T|%(task_name)s|%(message)s"
    )
    worker = start_worker("-c", "2", app="shop", url=migrated_url, environment=environment)
    result = sender.send_task("talk", ["hello"], queue="celery")
    result.get(timeout=PATIENCE)
    assert worker.stop() == 0
    lines = worker.log.splitlines()
    assert "T|talk|logged hello" in lines
    assert "T|talk|printed hello" in lines
    assert "T|talk|complained" in lines
    assert any(line.startswith("W|ERROR|signal worker_init: receiver") for line in lines)
    assert (shop / "received").read_text().split() == [result.id, "talk", "hello", "celery"]


def test_a_job_is_read_once_though_its_receipt_is_told_of(
    start_worker: StartWorker, sender: Lavoro, migrated_url: str, shop: Path
) -> None:
    """By the signal `task_received`, and by the log at INFO."""
    serialization.register("counted", json.dumps, json.loads, "application/x-counted", "utf-8")
    environment = configure(shop, accept_content=["counted"])
    try:
        worker = start_worker("-c", "2", app="shop", url=migrated_url, environment=environment)
        result = sender.send_task("talk", ["hello"], queue="celery", serializer="counted")
        result.get(timeout=PATIENCE)
    finally:
        serialization.unregister("counted")
    assert worker.stop() == 0
    assert f"Task talk[{result.id}] received" in worker.log
    assert (shop / "received").read_text().split() == [result.id, "talk", "hello", "celery"]
    assert (shop / "read").read_text().split() == ["read"]


LOUD = """
import logging, sys, warnings
warnings.warn("old news")
logging.getLogger("shop.parts").info("counted")
logging.getLogger("shop.parts").debug("not asked for")
{own}
logging.getLogger("shop.parts").warning("parts are missing")
"""


@pytest.mark.parametrize("to", ["stderr", "file"])
def test_what_the_import_logs_and_warns_of_are_lines_of_the_log(
    start_worker: StartWorker, migrated_url: str, shop: Path, tmp_path: Path, eventually: Eventually, to: str
) -> None:
    """With time, level and process, in the log's own file, and by the asked level."""
    (shop / "shop.py").write_text(LOUD.format(own="") + APP.replace("{failure}", "ValueError"))
    path = tmp_path / "w.log"
    path.touch()
    arguments = ["-l", "info", *(["-f", str(path)] if to == "file" else [])]
    worker = start_worker(*arguments, app="shop", url=migrated_url, ready=to == "stderr", environment=configure(shop))
    if to == "file":
        eventually(lambda: "ready" in path.read_text(), timeout=PATIENCE, why="it is ready")
    assert worker.stop() == 0
    said = path.read_text() if to == "file" else worker.log
    for line in (r"WARNING/gevent-0\] .*shop.py:3: UserWarning: old news", r"INFO/gevent-0\] counted",
                 r"WARNING/gevent-0\] parts are missing"):  # fmt: skip
        assert len(re.findall(rf"^\[\d{{4}}-\d\d-\d\d [\d:,]+: {line}", said, re.MULTILINE)) == 1
    assert "not asked for" not in said
    assert to == "stderr" or worker.log == ""


def test_an_application_that_sets_its_log_up_while_it_is_imported(
    start_worker: StartWorker, migrated_url: str, shop: Path
) -> None:
    own = "logging.basicConfig(format='own %(message)s', level=logging.WARNING, stream=sys.stderr)"
    (shop / "shop.py").write_text(LOUD.format(own=own) + APP.replace("{failure}", "ValueError"))
    environment = configure(shop, worker_hijack_root_logger=False)
    worker = start_worker("-l", "info", app="shop", url=migrated_url, environment=environment)
    assert worker.stop() == 0
    assert worker.log.count("parts are missing") == 1
    assert "own parts are missing\n" in worker.log


def test_process_that_cannot_begin(start_worker: StartWorker, migrated_url: str, shop: Path) -> None:
    """Each start is told in one line; when enough have failed the worker exits with 1."""
    (shop / "shop.py").write_text(APP.replace("{failure}", "SystemExit"))
    worker = start_worker("-c", "2", app="shop", url=migrated_url, ready=False, environment=configure(shop))
    assert worker.wait() == 1
    assert worker.log.count("a new process cannot work: ") == 5
    assert "SystemExit: on purpose" in worker.log
    assert "Traceback" not in worker.log
    assert "giving up" in worker.log


def reload(worker: Worker, before: set[int], eventually: Eventually, *, count: int) -> None:
    worker.send(signal.SIGHUP)

    def replaced() -> bool:
        return len(worker.children) == count and not before & {child.pid for child in worker.children}

    eventually(replaced, timeout=PATIENCE, why="all are replaced")


def test_reload_takes_settings_over(
    start_worker: StartWorker, sender: Lavoro, migrated_url: str, shop: Path, eventually: Eventually
) -> None:
    """Number of processes, slots and queues change; what cannot is named."""
    environment = configure(shop, worker_concurrency=3, worker_pool="prefork")
    worker = start_worker(app="shop", url=migrated_url, environment=environment)
    before = {child.pid for child in worker.children}
    assert len(before) == 3
    configure(shop, worker_concurrency=2, worker_pool="prefork", task_queues=["mail"], lavoro_lease=77)
    reload(worker, before, eventually, count=2)
    worker.until("only a restart of the worker takes over: lavoro_lease")
    assert sender.send_task("talk", ["mail"], queue="mail").get(timeout=PATIENCE) not in before
    before = {child.pid for child in worker.children}
    configure(shop, worker_concurrency=3, worker_pool="prefork", task_queues=["mail"])
    reload(worker, before, eventually, count=3)
    live = "select process, queues from lavoro.worker where stopped_at is null order by 1"
    eventually(
        lambda: rows(sender, live) == [(number, ["mail"]) for number in range(3)], timeout=PATIENCE, why="they serve"
    )
    assert worker.stop() == 0
    assert worker.log.count("only a restart") == 1


def test_a_start_that_takes_long_is_no_loop_that_hangs(
    start_worker: StartWorker, sender: Lavoro, migrated_url: str, shop: Path, eventually: Eventually
) -> None:
    """A database that is made first, or much to purge, hold the start up; no lease is missed meanwhile."""
    environment = configure(shop, lavoro_lease=1)
    waits = "select count(*) from pg_stat_activity where wait_event_type = 'Lock'"
    with psycopg.connect(migrated_url) as connection:
        connection.execute("lock table lavoro.waiting in share mode")
        worker = start_worker("--purge", app="shop", url=migrated_url, ready=False, environment=environment)
        eventually(lambda: rows(sender, waits) == [(1,)], timeout=PATIENCE, why="it purges")
        time.sleep(STUCK + 0.5)  # this long a loop must not hang
    worker.until("ready: ")
    assert worker.stop() == 0
    assert "the main loop" not in worker.log


THREADS = """
import threading

def aside(function, *args, **kwargs):
    thread = threading.Thread(target=function, args=args, kwargs=kwargs)
    thread.start()
    thread.join()

@app.task(name="report", bind=True)
def report(self, other):
    aside(self.update_state, self.request.id, "HALF", {"done": 1})
    half = app.AsyncResult(self.request.id).state
    report.update_state(task_id=other, state="THEIRS")
    theirs = app.AsyncResult(other).state
    aside(self.update_state, state="NOBODYS")
    self.update_state("unheard-of", state="LOST")
    return [half, theirs]

@app.task(name="wait")
def wait():
    while not (here / "enough").exists():
        threading.Event().wait(0.02)
"""


@pytest.mark.parametrize("pool", ["gevent", "threads"])
def test_states_told_from_a_thread_or_by_id(
    start_worker: StartWorker, sender: Lavoro, migrated_url: str, shop: Path, pool: str, eventually: Eventually
) -> None:
    """A state is stored for a task that runs, and a warning says of each other one that it is not."""
    (shop / "shop.py").write_text(APP.replace("{failure}", "ValueError") + THREADS)
    worker = start_worker("-P", pool, "-c", "2", app="shop", url=migrated_url, environment=configure(shop))
    other = sender.send_task("wait", task_id="their own", queue="celery")
    eventually(lambda: sender.AsyncResult(other.id).stage == "running", timeout=PATIENCE)
    assert sender.send_task("report", [other.id], queue="celery").get(timeout=PATIENCE) == ["HALF", "THEIRS"]
    (shop / "enough").touch()
    other.get(timeout=PATIENCE)
    assert worker.stop() == 0
    assert "state LOST of report[unheard-of] is dropped: no task of this id runs" in worker.log
    assert "state NOBODYS of a task report is dropped: none runs in this thread; give its id" in worker.log


def test_what_this_release_does_not_do_is_told_at_the_start(
    start_worker: StartWorker, migrated_url: str, shop: Path
) -> None:
    """Settings and options of tasks are warned of once, however many processes there are."""
    more = "@app.task(rate_limit='5/s')\ndef slow(): ...\n@app.task\ndef plain(): ...\n"
    (shop / "shop.py").write_text(APP.replace("{failure}", "ValueError") + more)
    environment = configure(
        shop, beat_enable_remote_control=True, worker_direct=True, beat_remote_control_max_tick_age=None
    )
    worker = start_worker("-P", "prefork", "-c", "2", app="shop", url=migrated_url, environment=environment)
    assert worker.stop() == 0
    warned = [line.partition("] ")[2] for line in worker.log.splitlines() if "is not supported" in line]
    assert [line.partition(":")[0] for line in warned] == [
        "beat_enable_remote_control is not supported",
        "worker_direct is not supported",
        "rate_limit of shop.slow is not supported",
    ]


def test_what_would_break_a_promise_is_refused_at_the_start(
    start_worker: StartWorker, migrated_url: str, shop: Path
) -> None:
    """Each task that asks for it is named."""
    more = "@app.task(acks_on_failure_or_timeout=False)\ndef again(): ...\n"
    (shop / "shop.py").write_text(APP + more)
    worker = start_worker(app="shop", url=migrated_url, ready=False, environment=configure(shop))
    assert worker.wait() == 1
    assert "acks_on_failure_or_timeout of shop.again is not supported: a task that failed" in worker.log


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"rate_limit": "5/s"}, "rate_limit of talk is not supported: this release does not read it"),
        ({"acks_on_failure_or_timeout": False}, "lavoro: acks_on_failure_or_timeout of talk is not supported: a task"),
        ({"time_limit": "5"}, "lavoro: task 'talk': time_limit must be a number of seconds or a timedelta, 0 or more"),
    ],
)
def test_what_annotations_ask_for_is_told_at_the_start(
    start_worker: StartWorker, migrated_url: str, shop: Path, options: dict[str, object], said: str
) -> None:
    """Options that a setting gives to tasks are warned of, refused and checked as the tasks' own."""
    environment = configure(shop, task_annotations={"talk": options})
    warned = not said.startswith("lavoro: ")
    worker = start_worker(app="shop", url=migrated_url, ready=warned, environment=environment)
    assert (worker.stop() if warned else worker.wait()) == (0 if warned else 1)
    assert worker.log.count(said) == 1
