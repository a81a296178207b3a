"""The parts that supervisor and child speak with, by themselves."""

from __future__ import annotations

import dataclasses
import faulthandler
import math
import os
import socket
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

import lavoro
from lavoro import Lavoro
from lavoro.cli.worker import _tell
from lavoro.exceptions import ImproperlyConfigured, QueueNotFound
from lavoro.execution.run_settings import RunSettings
from lavoro.protocol.message import Job
from lavoro.store import workers
from lavoro.store.capacity import smallest
from lavoro.store.database import Database
from lavoro.store.embedded import EmbeddedPostgres
from lavoro.store.workers import Registration
from lavoro.worker.child import start_warnings
from lavoro.worker.child.in_flight import InFlight
from lavoro.worker.child.runner import limit_of
from lavoro.worker.child.unhandled import EndHandlers
from lavoro.worker.config import WorkerConfig, WorkerOptions, make_config, node_name
from lavoro.worker.pipe import Pipe
from lavoro.worker.scoreboard import ENDED, Scoreboard, unnamed_file
from lavoro.worker.supervisor.lifecycle import Lifecycle, State
from lavoro.worker.supervisor.process import PATCH
from lavoro.worker.supervisor.stack_dumps import calls_of_tasks, slots
from lavoro.worker.supervisor.start_warnings import of_the_node
from lavoro.worker.supervisor.storage import name_of

ENGINE = sa.create_engine("postgresql+psycopg://h/d")


def make_scoreboard(slots: int) -> Scoreboard:
    descriptor = unnamed_file()
    os.ftruncate(descriptor, Scoreboard.size(slots))
    return Scoreboard(descriptor, slots)


def test_scoreboard() -> None:
    """What begins is there until it ends; only what is past its limit is overdue."""
    shared, id = make_scoreboard(2), uuid.uuid4()
    assert shared.entries() == []
    shared.begin(1, id.bytes, math.inf)
    assert [(entry.slot, entry.id) for entry in shared.entries()] == [(1, id)]
    assert shared.overdue() is None
    shared.begin(0, id.bytes, time.monotonic() - 1)
    overdue = shared.overdue()
    assert overdue is not None
    assert overdue.slot == 0
    shared.end(0, id.bytes)
    assert shared.overdue() is None
    assert shared.ended() == [id]
    shared.tick()
    shared.trust(17.5)
    assert 0 < shared.ticked <= time.monotonic()
    assert shared.trusted_until == 17.5


def test_board_keeps_what_ended_last() -> None:
    """The memory of so many tasks is used again and again; the supervisor reads it through a scoreboard of its own."""
    descriptor = unnamed_file()
    os.ftruncate(descriptor, Scoreboard.size(2))
    child, supervisor = Scoreboard(descriptor, 2), Scoreboard(descriptor, 2)
    ids = [uuid.uuid4() for _ in range(ENDED + 10)]
    for number, id in enumerate(ids):
        child.begin(number % 2, id.bytes, math.inf)
        child.end(number % 2, id.bytes)
    assert supervisor.entries() == []
    assert set(supervisor.ended()) == set(ids[10:])


def test_the_name_of_the_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is, without its password; the embedded one is named by its folder."""
    monkeypatch.delenv("LAVORO_DATABASE_URL", raising=False)
    app = Lavoro("config", lavoro_data_dir=str(tmp_path), set_as_current=False)
    config = make_config(app, WorkerOptions("config"))
    try:
        assert name_of(config) == f"embedded, {tmp_path}"
    finally:
        EmbeddedPostgres.at(tmp_path).leave()
    other = dataclasses.replace(config, url="postgresql://me:secret@host:5433/shop?password=secret")
    assert name_of(other) == "postgresql://me:***@host:5433/shop?password=***"


def test_what_a_person_is_told_holds_no_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    _tell("node\x1b[31m ready\n")
    assert capsys.readouterr().err == "node\\x1b[31m ready\\n\n"


def test_pipe_never_waits_for_a_child_that_does_not_read() -> None:
    """Orders are kept in their order; wake-ups are dropped meanwhile."""
    ours, theirs = Pipe.pair()
    for number in range(5_000):
        assert ours.send("order", number=number, padding="x" * 200)
    ours.try_send("wake")
    child, heard = Pipe(theirs), []
    for message in child.messages():
        heard.append(message["number"])
        ours.flush()
        if message["number"] == 4_999:
            break
    assert heard == list(range(5_000))
    ours.try_send("wake")
    assert [message["kind"] for message in child.receive() or []] == ["wake"]
    child.close()
    assert not ours.send("order")
    assert ours.receive() is None
    ours.close()


def test_what_was_claimed_anew_is_still_held() -> None:
    """Its return is stored, and it is claimed again, before it has been let go."""
    values: list[Any] = [None] * len(Job._fields)
    job = Job(*values)._replace(id=uuid.uuid4(), attempt=1)
    again = job._replace(due=None)
    in_flight = InFlight()
    in_flight.add([job])
    in_flight.add([again])
    in_flight.release([job])
    assert (in_flight.jobs(), in_flight.released) == ([again], 0)
    in_flight.release([again])
    assert (in_flight.jobs(), in_flight.released) == ([], 1)


def test_whoever_holds_nothing_for_a_while_is_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told when that begins and when it ends, and not for each task between."""
    values: list[Any] = [None] * len(Job._fields)
    jobs = [Job(*values)._replace(id=uuid.uuid4()) for _ in range(3)]
    told: list[bool] = []
    in_flight = InFlight(told.append)
    in_flight.check_idle()
    assert told == []
    monkeypatch.setattr("lavoro.worker.child.in_flight.IDLE_AFTER", 0.0)
    in_flight.check_idle()
    in_flight.check_idle()
    in_flight.add([])
    assert told == [True]
    for job in jobs:
        in_flight.add([job])
        in_flight.check_idle()
    assert told == [True, False]
    in_flight.release(jobs)
    in_flight.check_idle()  # it has held something since the last look
    assert told == [True, False]
    in_flight.check_idle()
    assert told == [True, False, True]


def test_config() -> None:
    app = Lavoro("config", set_as_current=False, broker="postgresql://h/d", task_default_queue="mine", result_expires=0)
    config = make_config(app, WorkerOptions("config", pool="prefork", concurrency=3))
    assert (config.slots, config.processes, config.queues) == (1, 3, ("mine",))
    assert config.success_expires is None
    assert WorkerConfig.from_dict(vars(config)) == config
    config = make_config(app, WorkerOptions("config", processes=2, queues=("a", "b", "a"), exclude_queues=("b",)))
    assert (config.pool, config.slots, config.processes, config.queues) == ("gevent", 100, 2, ("a",))
    with pytest.raises(ImproperlyConfigured, match="no queue is left"):
        make_config(app, WorkerOptions("config", queues=("b",), exclude_queues=("b",)))
    app.conf.task_create_missing_queues = False
    with pytest.raises(QueueNotFound, match="'other'.*mine"):
        make_config(app, WorkerOptions("config", queues=("other",)))


@pytest.mark.parametrize(
    ("options", "connections"),
    [
        ({}, 15),
        ({"pool_size": 2, "max_overflow": 1}, 3),
        ({"pool_size": 0}, None),
        ({"max_overflow": -1}, None),
        ({"poolclass": sa.NullPool}, None),
        ({"poolclass": sa.StaticPool}, None),
    ],
)
def test_no_more_tasks_at_once_than_the_application_has_connections(
    options: dict[str, Any], connections: int | None
) -> None:
    """The default number gives way; a number that somebody chose stays, with a warning of both numbers."""
    engine = sa.create_engine("postgresql+psycopg://ada:secret@h/d", **options)
    for given in (engine, [engine], lambda: [engine]):
        app = Lavoro("config", set_as_current=False, broker="postgresql://h/d", lavoro_engines=given)
        app.task(len, name="len")
        assert make_config(app, WorkerOptions("config")).slots == (connections or 100)
    assert make_config(app, WorkerOptions("config", pool="prefork", concurrency=50)).slots == 1

    chosen = WorkerOptions("config", concurrency=50)
    config = make_config(app, chosen)
    assert config.slots == 50
    told = list(start_warnings.of_the_application(app, chosen, config))
    if connections is None:
        assert told == []
        return
    [warning] = told
    assert f"runs 50 tasks at once, but the engine of postgresql+psycopg://ada:***@h/d has {connections} c" in warning
    assert f"longer than 30 s for one fails; start the worker with -c {connections}" in warning
    assert (
        list(start_warnings.of_the_application(app, WorkerOptions("config"), make_config(app, WorkerOptions("config"))))
        == []
    )


@pytest.mark.parametrize(
    ("host", "pid", "counts"),
    [
        ("elsewhere", 4711, True),
        (socket.gethostname(), os.getppid(), True),
        (socket.gethostname(), os.getpid(), False),  # that number is ours now
        (socket.gethostname(), 2**22 + 1, False),  # Linux gives no number above 2^22
    ],
    ids=["another machine", "a process of this machine", "a number that is ours now", "no process"],
)
def test_a_live_worker_of_the_same_name(migrated_url: str, host: str, pid: int, *, counts: bool) -> None:
    database = Database(migrated_url)
    with database.tx() as tx:
        workers.register(tx, Registration("w@x", 0, host, pid, "solo", 1, ["celery"], "0.1.0", 60.0))
    assert len(list(of_the_node(database, "w@x", [os.getpid()]))) == counts
    assert list(of_the_node(database, "other@x", [])) == []
    database.dispose()
    assert list(of_the_node(Database("postgresql://127.0.0.1:1/x"), "w@x", [])) == []


def test_what_is_no_engine_is_refused() -> None:
    app = Lavoro("config", set_as_current=False, broker="postgresql://h/d", lavoro_engines=["postgresql://h/d"])
    with pytest.raises(ImproperlyConfigured, match="lavoro_engines must name SQLAlchemy engines, not str"):
        make_config(app, WorkerOptions("config"))
    app.conf.lavoro_engines = f"{__name__}:ENGINE"
    assert make_config(app, WorkerOptions("config")).slots == 15


def test_engines_of_asyncio_have_pools_as_well() -> None:
    engine = create_async_engine("postgresql+psycopg_async://h/d", pool_size=1, max_overflow=3)
    assert smallest([("none", sa.create_engine("postgresql+psycopg://h/d")), ("it", engine)]) == ("it", 4, 30.0)
    assert smallest([]).connections == math.inf


def test_node_name() -> None:
    assert node_name("w1@shop") == "w1@shop"
    assert node_name("w1").startswith("w1@")
    assert node_name("a%%h@b") == "a%h@b"
    assert node_name("%p@h") == f"{os.getpid()}@h"


def test_a_dump_keeps_the_calls_of_tasks(tmp_path: Path) -> None:
    """A real one: the task's own calls, innermost first, and those of a task that it calls itself, but none of ours."""
    app = Lavoro("dump", set_as_current=False)
    with (tmp_path / "dump").open("w+") as file:

        @app.task
        def inner() -> None:
            faulthandler.dump_traceback(file, all_threads=True)

        @app.task
        def outer() -> None:
            inner.apply()

        outer.apply()
        file.seek(0)
        dump = file.read()
    kept = [call.rpartition(" in ")[2] for call in calls_of_tasks(dump).splitlines()]
    assert kept[0] == "inner"
    assert kept[-1] == "outer"
    assert "test_a_dump_keeps_the_calls_of_tasks" in dump
    assert calls_of_tasks("Thread 0x01\n  elsewhere") == "Thread 0x01\n  elsewhere"


def test_a_dump_keeps_no_thread_without_a_task() -> None:
    """Their order is the dump's; the thread of a task that calls us keeps those calls."""
    ours = Path(lavoro.__file__).parent
    dump = f"""Thread 0x01 (most recent call first):
  File "{ours}/runtime/native.py", line 50 in _run

Current thread 0x02 (most recent call first):
  File "{ours}/store/tx.py", line 3 in execute
  File "/shop/tasks.py", line 7 in burn
  File "{ours}/execution/executor.py", line 150 in _call
  File "{ours}/worker/child/child.py", line 180 in _run
  File "{ours}/worker/child/pools/base.py", line 132 in lavoro_slot_3
"""
    first, second = f'  File "{ours}/store/tx.py", line 3 in execute', '  File "/shop/tasks.py", line 7 in burn'
    assert calls_of_tasks(dump) == f"{first}\n{second}"
    assert slots(dump) == {3}


def test_the_states_of_a_child_come_in_their_order() -> None:
    """Each has its time; one that leaves before it is ready was never ready."""
    life = Lifecycle()
    assert life.state is State.STARTING
    life.reach(State.LOADED)
    loaded = life.since(State.LOADED)
    life.leave(by=math.inf)
    life.leave(by=17.0)
    life.reach(State.LOADED)
    assert (life.state, life.leave_by, life.since(State.LOADED)) == (State.LEAVING, 17.0, loaded)
    assert life.since(State.STARTING) <= loaded <= life.since(State.LEAVING) < math.inf
    assert (life.loaded, life.ready, life.since(State.READY)) == (True, False, math.inf)
    life.reach(State.GONE)
    assert (life.state, life.leaving) == (State.GONE, True)


@pytest.mark.parametrize(
    ("written", "limit"),
    [
        ("5", 5.0),
        ("0.5", 0.5),
        ('"7"', 7.0),
        ("0", None),
        ("-5", None),
        ('"nan"', None),
        ("[1]", None),
        ("1" + "0" * 400, None),
    ],
)
def test_a_limit_that_makes_no_sense_ends_no_process(written: str, limit: float | None) -> None:
    values: list[Any] = [None] * len(Job._fields)
    job = Job(*values)._replace(options=f'{{"time_limit":{written}}}')
    assert limit_of(job) == limit


def test_handlers_that_a_stop_comes_before_are_not_waited_for() -> None:
    """An order to stop may come right after the one to call them."""
    handlers = EndHandlers(Database("postgresql://127.0.0.1:1/nowhere"), 1, {}, RunSettings("node"))
    told: list[bool] = []
    handlers.done = lambda: told.append(handlers.busy)
    handlers.stopping = True
    handlers.call()
    handlers.join(60)
    assert not handlers.busy
    assert told == [False]


def test_plugins_of_gevent_are_found_by_reading_the_installed_packages_once(tmp_path: Path) -> None:
    """gevent asks for them at each of 25 steps."""
    package = tmp_path / "plugged-1.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Name: plugged\nVersion: 1\n")
    (package / "entry_points.txt").write_text("[gevent.plugins.monkey.did_patch_all]\nplugged = plugged:patched\n")
    (tmp_path / "plugged.py").write_text("def patched(event):\n    print(type(event).__name__)\n")
    code = (
        "from importlib import metadata; found = metadata.distributions; asked = metadata.entry_points; times = []\n"
        "def distributions(**named): times.append(1); return found(**named)\n"
        f"metadata.distributions = distributions\n{PATCH}\nprint(len(times), metadata.entry_points is asked)"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    ran = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines() == ["GeventDidPatchAllEvent", "1 True"]
