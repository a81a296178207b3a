"""`on_startup`, `on_shutdown` and resources in real workers: how often, in which order, and what errors do."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from lavoro import Lavoro
from lavoro.exceptions import ImproperlyConfigured
from lavoro.testing import worker
from tests.conftest import Eventually
from tests.worker.conftest import Ledger, StartWorker

APP = "tests.worker.hooked"
START = ["process_one", "process_two"]
POOLS = {
    "gevent": ("-P", "gevent", "-c", "4"),
    "threads": ("-P", "threads", "-c", "2"),
    "solo": ("-P", "solo"),
    "prefork": ("-P", "prefork", "-c", "3"),
}


def events(ledger: Ledger) -> list[tuple[str, int]]:
    """What was noted, with the process."""
    return [(words[0], int(words[1])) for words in ledger.lines()]


def names(ledger: Ledger, pid: int | None = None) -> list[str]:
    return [name for name, process in events(ledger) if pid in (None, process)]


@pytest.mark.parametrize(
    "pool", [pytest.param(pool, marks=pytest.mark.slow if pool in ("threads", "solo") else ()) for pool in POOLS]
)
def test_each_function_runs_as_often_as_its_scope_says_and_in_order(
    migrated_url: str, sender: Lavoro, start_worker: StartWorker, ledger: Ledger, pool: str
) -> None:
    running = start_worker(*POOLS[pool], url=migrated_url, app=APP)
    processes = 3 if pool == "prefork" else 1
    found = sender.send_task("use").get(timeout=60)
    assert found[0] == {"pid": found[1]}
    assert found[2] == "the start"
    assert sender.send_task("fork").get(timeout=60) is True
    assert running.stop() == 0

    pids = {pid for _, pid in events(ledger)}
    starters = {pid for name, pid in events(ledger) if name == "worker_one"}
    enders = {pid for name, pid in events(ledger) if name == "end_node_one"}
    assert len(pids) >= processes  # and the fork
    assert (len(starters), len(enders)) == (1, 1)
    workers = {pid for name, pid in events(ledger) if name == "process_one"}
    assert len(workers) == processes
    for pid in workers:
        own = [name for name in names(ledger, pid) if name not in ("use", "used")]
        assert own == [
            *(("worker_one", "worker_started", "worker_two") if pid in starters else ()),
            "process_one", "make", "process_two",
            "end_two", "end_one", *(("end_node_two", "end_node_one") if pid in enders else ()), "close",
        ]  # fmt: skip
    assert "the shutdown functions of the worker" not in running.log


def test_no_task_of_the_node_starts_before_the_node(
    migrated_url: str, sender: Lavoro, start_worker: StartWorker, ledger: Ledger
) -> None:
    results = [sender.send_task("use") for _ in range(20)]
    environment = {"WORKER_START_TAKES": "2"}
    running = start_worker("-P", "prefork", "-c", "3", url=migrated_url, app=APP, environment=environment)
    for result in results:
        result.get(timeout=60)
    noted = names(ledger)
    assert noted.index("worker_started") < min(noted.index("use"), noted.index("process_one"))
    assert running.stop() == 0


def test_the_node_ends_after_the_last_task(
    migrated_url: str, sender: Lavoro, start_worker: StartWorker, ledger: Ledger, eventually: Eventually,
    tmp_path: Path,
) -> None:  # fmt: skip
    running = start_worker("-P", "prefork", "-c", "3", "--grace", "30", url=migrated_url, app=APP)
    sender.send_task("hold", [str(tmp_path / "go")])
    eventually(lambda: "hold" in names(ledger))
    running.send(signal.SIGTERM)
    eventually(lambda: names(ledger).count("close") == 1)  # one has left, and one waits for the third
    assert "end_node_one" not in names(ledger)
    (tmp_path / "go").touch()
    assert running.wait() == 0
    noted = names(ledger)
    assert noted.index("held") < noted.index("end_node_two") < noted.index("end_node_one")
    assert (noted.count("end_node_one"), noted.count("end_one"), noted.count("close")) == (1, 3, 3)


def test_a_process_that_replaces_another_one_starts_without_the_node(
    migrated_url: str, sender: Lavoro, start_worker: StartWorker, ledger: Ledger, eventually: Eventually
) -> None:
    environment = {"PROCESS_START_TAKES": "1"}  # so the stop finds the last process before it is ready
    options = ("-P", "solo", "--max-tasks-per-child", "1")
    running = start_worker(*options, url=migrated_url, app=APP, environment=environment)
    for _ in range(2):
        assert sender.send_task("use").get(timeout=60)[2] == "the start"
    eventually(lambda: names(ledger).count("process_two") == 3)
    assert running.stop() == 0
    noted = names(ledger)
    counts = {name: noted.count(name) for name in ("worker_one", "process_one", "make", "close", "end_one")}
    assert counts == {"worker_one": 1, "process_one": 3, "make": 3, "close": 3, "end_one": 3}
    assert noted.count("end_node_one") == 1


@pytest.mark.parametrize(
    ("pool", "name"),
    [("gevent", name) for name in ("worker_one", "worker_two", "process_one", "process_two", "make")]
    + [("prefork", "process_one"), pytest.param("prefork", "worker_one", marks=pytest.mark.slow)],
)
def test_a_start_that_fails_stops_the_worker(
    migrated_url: str, start_worker: StartWorker, ledger: Ledger, pool: str, name: str
) -> None:
    running = start_worker(*POOLS[pool], url=migrated_url, app=APP, ready=False, environment={"FAILS": name})
    assert running.wait() == 1
    what = "the resource 'client' cannot be made" if name == "make" else f"the start-up function {APP}.{name} failed"
    told = [line for line in running.log.splitlines() if f"{what}: ValueError: {name} is to fail (" in line]
    assert len(told) == 1
    assert "tests/worker/hooked.py, line" in told[0]
    assert told[0].endswith("; giving up")
    assert "Traceback" not in running.log
    assert names(ledger).count(name) <= (3 if name in (*START, "make") else 1)  # no process tries again
    assert "end_node_one" not in names(ledger)


def test_a_process_that_dies_in_the_start_of_the_node_has_a_successor_that_runs_it(
    migrated_url: str, sender: Lavoro, start_worker: StartWorker, ledger: Ledger
) -> None:
    environment = {"FAILS": "worker_two:once"}
    running = start_worker("-P", "prefork", "-c", "2", url=migrated_url, app=APP, environment=environment)
    sender.send_task("use").get(timeout=60)
    assert running.stop() == 0
    noted = names(ledger)
    assert (noted.count("worker_one"), noted.count("worker_two"), noted.count("process_one")) == (2, 2, 2)


def test_a_later_process_that_cannot_start_is_tried_again_while_others_work(
    migrated_url: str, sender: Lavoro, start_worker: StartWorker, ledger: Ledger
) -> None:
    running = start_worker(
        "-P", "solo", "--max-tasks-per-child", "1", url=migrated_url, app=APP,
        environment={"FAILS": "process_one:second"},
    )  # fmt: skip
    sender.send_task("use").get(timeout=60)
    assert running.wait() == 1  # five failed starts in a row, and no process is left
    assert running.log.count("a new process cannot work: the start-up function tests.worker.hooked.process_one") == 5
    assert "too many processes in a row have failed to begin; giving up" in running.log


@pytest.mark.parametrize("name", ["end_two", "end_node_two", "close"])
def test_a_shutdown_that_fails_is_reported_and_the_others_run(
    migrated_url: str, start_worker: StartWorker, ledger: Ledger, name: str
) -> None:
    running = start_worker("-P", "threads", "-c", "1", url=migrated_url, app=APP, environment={"FAILS": name})
    assert running.stop() == 0
    what = "the resource 'client' cannot be closed" if name == "close" else f"the shutdown function {APP}.{name} failed"
    assert f"{what}: ValueError: {name} is to fail (" in running.log
    assert names(ledger)[-5:] == ["end_two", "end_one", "end_node_two", "end_node_one", "close"]


def test_tasks_that_do_not_end_keep_their_resources(
    migrated_url: str, sender: Lavoro, start_worker: StartWorker, ledger: Ledger, eventually: Eventually,
    tmp_path: Path,
) -> None:  # fmt: skip
    running = start_worker("-P", "threads", "-c", "1", "--grace", "0", url=migrated_url, app=APP)
    result = sender.send_task("hold", [str(tmp_path / "go")])
    eventually(lambda: "hold" in names(ledger))
    assert running.stop() == 0
    assert "the resources are not closed: tasks still run" in running.log
    assert "close" not in names(ledger)
    assert names(ledger)[-2:] == ["end_node_two", "end_node_one"]
    assert result.state == "PENDING"  # requeued


def test_the_log_says_if_no_process_was_left_for_the_end_of_the_node(
    migrated_url: str, start_worker: StartWorker, ledger: Ledger, eventually: Eventually
) -> None:
    running = start_worker("-P", "solo", url=migrated_url, app=APP)
    (child,) = running.children
    child.suspend()
    running.send(signal.SIGQUIT)
    assert running.wait() == 0
    assert "the shutdown functions of the worker have not run: no process was left that could" in running.log
    assert "end_node_one" not in names(ledger)


@pytest.mark.slow
def test_a_start_that_hangs_is_named(migrated_url: str, start_worker: StartWorker) -> None:
    running = start_worker(
        "-P", "gevent", url=migrated_url, app=APP, ready=False, environment={"WORKER_START_TAKES": "12"}
    )
    running.until(f"the start-up function {APP}.worker_one has taken 10 s so far")
    running.until(" ready: ")
    assert running.stop() == 0


# In a test process


@pytest.fixture
def app(migrated_url: str) -> Iterator[Lavoro]:
    made = Lavoro("inside", broker=migrated_url, set_as_current=False)
    yield made
    made.close()


def noting(app: Lavoro, noted: list[str]) -> None:
    """Add functions that note their names."""
    for scope in ("process", "worker"):
        for number in (1, 2):
            app.on_startup(scope=scope)(lambda scope=scope, number=number: noted.append(f"start {scope} {number}"))
            app.on_shutdown(scope=scope)(lambda scope=scope, number=number: noted.append(f"stop {scope} {number}"))


@pytest.mark.parametrize("processes", [1, 2])
def test_a_worker_in_a_test_runs_them_too(app: Lavoro, processes: int) -> None:
    noted: list[str] = []
    noting(app, noted)

    @app.task
    def task() -> None:
        noted.append("task")

    with worker(app, processes=processes):
        task.delay().get(timeout=30)
    assert noted == [
        "start worker 1", "start worker 2", *("start process 1", "start process 2") * processes,
        "task", *("stop process 2", "stop process 1") * processes, "stop worker 2", "stop worker 1",
    ]  # fmt: skip


def test_an_error_of_the_start_is_raised_in_the_test(app: Lavoro) -> None:
    @app.on_startup
    def broken() -> None:
        raise ValueError("no")

    with pytest.raises(Exception, match=r"the start-up function .*broken failed: ValueError: no \(") as raised:
        worker(app).__enter__()
    assert isinstance(raised.value.__cause__, ValueError)


@pytest.mark.parametrize("part", ["startup", "shutdown", "resource"])
def test_processes_that_would_lose_the_functions_are_refused(app: Lavoro, part: str) -> None:
    def function() -> Iterator[int]:
        yield 1

    {"startup": app.on_startup(), "shutdown": app.on_shutdown(), "resource": app.resource()}[part](
        function if part == "resource" else lambda: None
    )
    with pytest.raises(
        ImproperlyConfigured, match=r"make <Lavoro inside> anew, without its start-up and shutdown func"
    ):
        worker(app, pool="prefork").__enter__()


def test_an_overridden_resource_is_not_made(app: Lavoro) -> None:
    made = []

    @app.resource
    def client() -> Iterator[str]:
        made.append(1)
        yield "real"

    @app.task
    def task(client: str) -> str:
        return client

    with app.override(client, "fake"), worker(app):
        assert task.delay().get(timeout=30) == "fake"
    assert made == []
