"""A worker inside of the test process: `lavoro.testing.worker`."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from lavoro import Lavoro, signals
from lavoro.discovery import find_app
from lavoro.exceptions import (
    ImproperlyConfigured,
    OperationalError,
    TaskRevokedError,
    TimeLimitExceeded,
)
from lavoro.runtime import current_app
from lavoro.testing import Manager, worker
from lavoro.testing.replica import replica
from tests.api.conftest import Rows
from tests.conftest import Eventually

PATIENCE = 30.0
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def no_thread_stays() -> Iterator[None]:
    """A worker that has stopped leaves no thread."""
    before = set(threading.enumerate())
    yield
    assert [thread.name for thread in threading.enumerate() if _is_of_a_worker(thread) and thread not in before] == []


def _is_of_a_worker(thread: threading.Thread) -> bool:
    return thread.name.startswith("lavoro-") and thread.name != "lavoro-listener"  # that is of the application


@pytest.mark.parametrize("pool", ["threads", "solo"])
def test_tasks_run_in_this_process(app: Lavoro, pool: str) -> None:
    @app.task
    def where() -> list[Any]:
        return [os.getpid(), threading.current_thread() is threading.main_thread(), current_app.get() is app]

    with worker(app, pool=pool) as running:
        assert running.inside
        assert where.delay().get(timeout=PATIENCE) == [os.getpid(), False, True]
    assert not running.alive


def test_schedules_run_where_asked_for_and_stop_with_the_worker(
    app: Lavoro, rows: Rows, eventually: Eventually
) -> None:
    @app.periodic(0.1, overlap="allow")
    @app.task(name="often")
    def often() -> None: ...

    ticks = "select count(*) from lavoro.tick"
    with worker(app):
        assert often.delay().get(timeout=PATIENCE) is None
    assert rows("select count(*) from lavoro.schedule") == [{"count": 0}]
    with worker(app, beat=True):
        eventually(lambda: rows(ticks)[0]["count"] >= 5)
    known = rows(ticks)
    time.sleep(0.5)  # five ticks that must not come
    assert rows(ticks) == known


def test_the_manager_pings_the_workers_whose_lease_runs(app: Lavoro) -> None:
    inspect = Manager(app).inspect()
    assert inspect.ping() is None
    with worker(app) as first, worker(app) as second:
        assert inspect.ping() == {each.hostname: {"ok": "pong"} for each in (first, second)}
        assert inspect.ping([second.hostname, "unknown@host"]) == {second.hostname: {"ok": "pong"}}
    assert inspect.ping() is None
    assert inspect.active() is None


def test_signals_of_worker_and_task_are_sent_here(app: Lavoro) -> None:
    @app.task
    def nothing() -> None: ...

    seen: list[str] = []
    connected = [getattr(signals, name) for name in ("worker_init", "worker_ready", "task_success", "worker_shutdown")]
    receivers = [_noting(seen, signal.name) for signal in connected]
    for signal, receiver in zip(connected, receivers, strict=True):
        signal.connect(receiver)
    with worker(app):
        assert seen == ["worker_init", "worker_ready"]
        nothing.delay().get(timeout=PATIENCE)
    assert seen == ["worker_init", "worker_ready", "task_success", "worker_shutdown"]


def _noting(seen: list[str], name: str) -> Any:
    return lambda **_: seen.append(name)


def test_it_serves_the_queues_that_are_named(app: Lavoro) -> None:
    @app.task
    def nothing() -> None: ...

    with worker(app, queues="fast,slow", concurrency=3) as running:
        assert running.options.queues == ("fast", "slow")
        nothing.apply_async(queue="slow").get(timeout=PATIENCE)


def test_two_workers_with_an_application_and_a_queue_each(app: Lavoro, migrated_url: str) -> None:
    with Lavoro("kitchen", broker=migrated_url, task_default_queue="kitchen", set_as_current=False) as other:
        both = threading.Barrier(2)

        @app.task(name="shop.meet")
        def meet() -> str:
            both.wait(PATIENCE)
            return repr(current_app.get())

        @other.task(name="kitchen.meet")
        def meet_too() -> str:
            both.wait(PATIENCE)
            return repr(current_app.get())

        with worker(app) as first, worker(other) as second:
            assert first.hostname != second.hostname
            results = [meet.delay(), meet_too.delay()]
            assert [result.get(timeout=PATIENCE) for result in results] == ["<Lavoro shop>", "<Lavoro kitchen>"]


def test_a_lease_is_renewed_while_a_task_runs(app: Lavoro, rows: Rows, eventually: Eventually) -> None:
    app.conf.lavoro_lease = 2
    go_on = threading.Event()

    @app.task
    def wait() -> bool:
        return go_on.wait(PATIENCE)

    with worker(app):
        result = wait.delay()
        renewals: set[Any] = set()

        def renewed() -> bool:
            renewals.update(row["expires_at"] for row in rows("select expires_at from lavoro.worker"))
            return len(renewals) > 5  # four in each lease: without them it would have expired

        eventually(renewed)
        go_on.set()
        assert result.get(timeout=PATIENCE) is True
    assert [row["attempt"] for row in rows("select attempt from lavoro.finished")] == [1]
    assert rows("select id from lavoro.worker where live") == []


def test_a_terminated_task_is_interrupted(app: Lavoro) -> None:
    started, ended = threading.Event(), threading.Event()

    @app.task
    def turn() -> None:
        started.set()
        while not ended.is_set():
            time.sleep(0.01)

    with worker(app):
        result = turn.delay()
        assert started.wait(PATIENCE)
        result.revoke(terminate=True)
        with pytest.raises(TaskRevokedError):
            result.get(timeout=PATIENCE)


def test_a_run_whose_task_is_ended_from_outside_is_interrupted(app: Lavoro) -> None:
    started, interrupted = threading.Event(), threading.Event()

    @app.task
    def turn() -> None:
        started.set()
        try:
            while True:
                time.sleep(0.01)
        finally:
            interrupted.set()

    with worker(app):
        result = turn.delay()
        assert started.wait(PATIENCE)
        assert app.complete(result.id, 5)
        assert interrupted.wait(PATIENCE)
        assert result.get(timeout=PATIENCE) == 5


def test_a_task_that_ignores_its_hard_limit_fails_and_another_child_goes_on(app: Lavoro) -> None:
    ended = threading.Event()

    @app.task(time_limit=0.2)
    def turn() -> None:
        while not ended.is_set():
            with contextlib.suppress(BaseException):
                ended.wait(0.01)

    @app.task
    def where() -> int:
        return os.getpid()

    with worker(app, concurrency=1):
        result = turn.delay()
        with pytest.raises(TimeLimitExceeded):
            result.get(timeout=PATIENCE)
        assert where.delay().get(timeout=PATIENCE) == os.getpid()
        ended.set()


def test_children_are_replaced_after_so_many_tasks(app: Lavoro, rows: Rows) -> None:
    @app.task
    def nothing() -> None: ...

    with worker(app, concurrency=1, max_tasks_per_child=2):
        for _ in range(5):
            nothing.delay().get(timeout=PATIENCE)
        assert len(rows("select id from lavoro.worker")) == 3


def test_a_task_that_does_not_end_is_an_error_and_runs_again(app: Lavoro, rows: Rows) -> None:
    started, ended = threading.Event(), threading.Event()

    @app.task
    def turn() -> None:
        started.set()
        while not ended.is_set():
            time.sleep(0.01)

    late = pytest.raises(RuntimeError, match=r"did not stop in time: .*turn\[.*more grace")
    with late, worker(app, grace=0.1):
        turn.delay()
        assert started.wait(PATIENCE)
    assert [row["attempt"] for row in rows()] == [0]
    ended.set()


class Spoilt(Exception):
    """The application cannot be configured."""


def test_an_error_of_the_start_is_raised(app: Lavoro) -> None:
    def fail(**_: Any) -> None:
        raise Spoilt

    app.add_defaults(lambda: fail())
    with pytest.raises(Spoilt), worker(app):
        pytest.fail("it has started")


def test_a_wrong_setting_is_an_error_of_the_start(app: Lavoro) -> None:
    app.conf.lavoro_lease = -1
    with pytest.raises(ImproperlyConfigured, match="lavoro_lease"), worker(app):
        pytest.fail("it has started")


def test_a_database_without_tables_is_an_error_of_the_start(database_url: str) -> None:
    app = Lavoro("shop", broker=database_url)
    with app, pytest.raises(ImproperlyConfigured, match="migrate"), worker(app):
        pytest.fail("it has started")


def test_a_database_that_is_not_there_is_an_error_of_the_start() -> None:
    app = Lavoro("shop", broker="postgresql://nobody@127.0.0.1:1/none")
    with app, pytest.raises(OperationalError), worker(app):
        pytest.fail("it has started")


def test_processes_cannot_get_a_setting_that_json_cannot_carry(app: Lavoro) -> None:
    app.conf.update(shop=object())
    with (
        pytest.raises(ImproperlyConfigured, match="cannot get the setting shop = <object"),
        worker(app, pool="prefork"),
    ):
        pytest.fail("it has started")


def test_processes_import_what_is_included_before_the_tasks(
    app: Lavoro, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "opening.py").write_text("open = True\n")
    (tmp_path / "shelf.py").write_text(
        "import sys\nfrom lavoro import Task\nassert sys.modules['opening'].open\n\n\n"
        "class Shelve(Task):\n    name = 'shelve'\n\n    def run(self): ...\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    app.conf.include = ["opening"]
    for module in ("opening", "shelf"):
        monkeypatch.setitem(sys.modules, module, import_module(module))
    app.register_task(sys.modules["shelf"].Shelve)
    made = replica(app)
    for module in ("opening", "shelf"):
        monkeypatch.delitem(sys.modules, module)
    assert "shelve" in find_app(made.app).tasks


def test_prefork_runs_tasks_in_processes_of_a_supervisor_in_this_one(
    migrated_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAVORO_DATABASE_URL", migrated_url)
    from tests.api import tasks

    monkeypatch.setattr(tasks.app.conf, "broker_url", migrated_url)
    with worker("tests.api.tasks", pool="prefork", concurrency=1) as running:
        assert not running.inside
        assert tasks.ping.delay().get(timeout=PATIENCE) == "pong"
    tasks.app.close()


PROGRAM = """
import os, sys
from lavoro import Lavoro
from lavoro.testing import Manager, worker
from lavoro.testing.replica import replica

app = Lavoro("shop", broker=sys.argv[1])

@app.task
def where():
    return os.getpid()

def run(pool):
    with worker(app, pool=pool) as running:
        assert running.inside
        assert where.delay().get(timeout=30) == os.getpid()
    app.close()
"""


@pytest.mark.parametrize(
    "program",
    [
        pytest.param("from gevent import monkey; monkey.patch_all()" + PROGRAM + "run('gevent')", id="gevent"),
        pytest.param(
            PROGRAM + "child = os.fork()\nif child == 0: run('threads'); os._exit(0)\n"
            "assert os.waitpid(child, 0)[1] == 0",
            id="forked",
        ),
    ],
)
def test_it_works_in_a_process_that_gevent_has_patched_and_in_a_forked_one(migrated_url: str, program: str) -> None:
    subprocess.run([sys.executable, "-c", program, migrated_url], cwd=ROOT, check=True, timeout=60)
