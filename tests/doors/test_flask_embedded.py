"""The embedded worker: a child of the web process, one per machine, gone with it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from flask import Flask

from lavoro.exceptions import ImproperlyConfigured
from lavoro.ext.embedded_worker import LONGEST_PAUSE, LOOK, EmbeddedWorker
from lavoro.ext.flask import FlaskLavoro
from lavoro.result import AsyncResult
from tests.conftest import Eventually
from tests.doors.flask_sites import Site, Web, is_worker, site_in

KIOSK = {
    "kiosk/__init__.py": """
        from flask import Flask
        from lavoro.ext.flask import FlaskLavoro

        lavoro = FlaskLavoro()

        def create_app():
            from . import tasks

            app = Flask(__name__)
            app.config["LAVORO"] = {"lavoro_poll_interval": 0.2}
            lavoro.init_app(app)
            lavoro.embed_worker(app, concurrency=3)
            app.add_url_rule("/", view_func=lambda: {"id": tasks.edition.delay().id})
            return app
        """,
    "kiosk/tasks.py": """
        import sys
        import time
        from pathlib import Path
        from lavoro import shared_task

        HERE = "first" if "worker" in sys.argv else "this is no worker"  # as applications ask when they are imported

        @shared_task
        def edition():
            return HERE

        @shared_task
        def hold(folder):
            Path(folder, "started").touch()
            while not Path(folder, "go").exists():
                time.sleep(0.02)
            return "held"
        """,
}


def edition(web: Web) -> Any:
    """What the task says that a request sends."""
    return AsyncResult(web.get("/")["id"]).get(timeout=60)


@pytest.fixture
def site(tmp_path: Path, migrated_url: str, monkeypatch: pytest.MonkeyPatch, eventually: Eventually) -> Iterator[Site]:
    """The site; afterwards no worker of its is left."""
    with site_in(tmp_path, migrated_url, monkeypatch) as site:
        site.write(KIOSK)
        site.load("kiosk").create_app()
        yield site
        site.stop()
        site.load("kiosk").lavoro.close()
    eventually(lambda: not any(is_ours(process, tmp_path) for process in psutil.process_iter()), timeout=60)


def is_ours(process: psutil.Process, folder: Path) -> bool:
    """Tell whether a process works in this folder."""
    try:
        return process.cwd() == str(folder)
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False


def test_the_first_request_starts_it_and_its_death_another(site: Site, eventually: Eventually) -> None:
    web = Web(site, "kiosk", eventually)
    assert web.workers() == []

    assert edition(web) == "first"
    first = web.worker()
    assert first.cmdline()[4:8] == ["-A", "kiosk", "-c", "3"]

    os.kill(first.pid, signal.SIGKILL)
    eventually(lambda: not is_worker(first), timeout=60)
    assert web.worker().pid != first.pid
    assert edition(web) == "first"
    assert f"the embedded worker {first.pid} ended with exit code -9; another is started in 1 s" in site.log()


def test_a_killed_web_process_takes_it_along_and_another_web_process_takes_over(
    site: Site, eventually: Eventually
) -> None:
    webs = [Web(site, "kiosk", eventually), Web(site, "kiosk", eventually)]
    assert [edition(web) for web in webs] == ["first", "first"]
    (holder,) = [web for web in webs if web.workers()]
    (other,) = [web for web in webs if web is not holder]
    worker = holder.worker()

    holder.process.kill()

    eventually(lambda: not is_worker(worker), timeout=60, why="the worker saw its web process end")
    assert other.worker().pid != worker.pid
    assert edition(other) == "first"


@pytest.mark.slow
def test_the_reloader_gives_the_worker_new_code(site: Site, eventually: Eventually) -> None:
    web = Web(site, "kiosk", eventually, "--debug")
    assert edition(web) == "first"
    worker = web.worker()

    site.write({"kiosk/tasks.py": KIOSK["kiosk/tasks.py"].replace("first", "second")})

    eventually(lambda: not is_worker(worker), timeout=60, why="the reload has ended the old worker")
    eventually(web.listens, timeout=60)
    assert edition(web) == "second"
    assert web.worker().pid != worker.pid


def test_a_web_process_that_stops_lets_tasks_finish(site: Site, tmp_path: Path, eventually: Eventually) -> None:
    web = Web(site, "kiosk", eventually)
    result = site.load("kiosk.tasks").hold.delay(str(tmp_path))
    web.get("/")
    eventually((tmp_path / "started").exists, timeout=60)
    worker = web.worker()

    web.process.send_signal(signal.SIGINT)
    eventually(lambda: not web.listens(), timeout=60, why="the web process is about to end")
    (tmp_path / "go").touch()

    assert result.get(timeout=60) == "held"
    web.process.wait(60)
    assert not is_worker(worker)


def test_neither_tests_nor_commands_nor_tasks_start_one(migrated_url: str) -> None:
    app = Flask(__name__)
    app.config.update(TESTING=True, LAVORO={"broker_url": migrated_url})
    app.add_url_rule("/", view_func=lambda: "welcome")
    lavoro = FlaskLavoro(app)
    worker = lavoro.embed_worker()

    @lavoro.task
    def visit_own_site() -> str:
        return app.test_client().get("/").text

    assert app.test_client().get("/").text == "welcome"
    app.testing = False
    assert visit_own_site.apply().get() == "welcome"
    assert app.test_cli_runner().invoke(args=["lavoro", "migrate"]).exit_code == 0
    assert not worker.alive
    lavoro.close()


# The worker by itself


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[EmbeddedWorker]:
    """One that is looked after by hand, and runs a program that does nothing but wait for the end of its lifeline."""
    program = tmp_path / "waits"
    program.write_text(f"#!{sys.executable} -SE\nimport os, sys\nos.read(int(sys.argv[-1]), 1)\n")
    program.chmod(0o700)
    monkeypatch.setattr("sys.executable", str(program))
    worker = EmbeddedWorker(["-A", "nowhere"], site=lambda: str(tmp_path), patience=lambda: 60)
    yield worker
    worker.close()
    worker.path.unlink(missing_ok=True)


def ended(worker: EmbeddedWorker) -> Callable[[], bool]:
    """Whether the process has ended."""
    return lambda: worker.pid is None


def test_a_worker_that_cannot_start_is_tried_ever_more_seldom(
    worker: EmbeddedWorker, eventually: Eventually, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("sys.executable", "/bin/false")
    pauses = []
    for _ in range(8):
        assert worker.step() == LOOK
        eventually(ended(worker), timeout=60)
        pauses.append(worker.step())
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]
    assert pauses[-1] == LONGEST_PAUSE
    assert "ended with exit code 1; another is started in 60 s" in caplog.text


def test_only_one_of_a_site_is_started(worker: EmbeddedWorker, tmp_path: Path) -> None:
    second = EmbeddedWorker(["-A", "nowhere"], site=lambda: str(tmp_path), patience=lambda: 60)
    stranger = EmbeddedWorker(["-A", "nowhere"], site=lambda: "another site")
    assert worker.path == second.path != stranger.path
    assert worker.path.name.startswith(f"lavoro-{os.getuid()}-")

    worker.step()
    second.step()
    assert (worker.pid is not None, second.pid) == (True, None)
    worker.close()
    second.step()
    assert second.pid is not None
    second.close()


def is_free(lock: Path) -> bool:
    with lock.open() as file, contextlib.suppress(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_process_does_not_keep_it_alive(worker: EmbeddedWorker, eventually: Eventually) -> None:
    worker.step()
    assert worker.pid is not None
    process = psutil.Process(worker.pid)
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:  # stays until it is told to go, and must neither hold the lifeline nor the lock
        os.close(tell)
        os.read(told, 1)
        os._exit(0 if worker.pid is None else 1)
    os.close(told)

    worker.close()

    process.wait(60)  # it sees its parent leave
    eventually(lambda: is_free(worker.path), timeout=60, why="the fork has let go of the lock")
    os.close(tell)
    assert os.waitpid(child, 0)[1] == 0


def test_settings_may_come_after_it() -> None:
    app = Flask(__name__)
    lavoro = FlaskLavoro(app)
    lavoro.embed_worker()
    app.config["LAVORO"] = {"task_default_queue": "late"}
    assert lavoro.queues == ["late"]


def test_it_needs_a_flask_application() -> None:
    with pytest.raises(ImproperlyConfigured, match="init_app"):
        FlaskLavoro().embed_worker()


@pytest.mark.parametrize(
    ("variables", "load", "expected"),
    [({}, None, __file__), ({"FLASK_APP": "shop:app"}, None, "shop:app"), ({"FLASK_APP": "a"}, "b:c()", "b:c()")],
)
def test_how_it_loads_the_application(
    variables: dict[str, str], load: str | None, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("FLASK_APP", "LAVORO_DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    worker = FlaskLavoro(Flask(__name__)).embed_worker(load=load)
    assert worker.arguments == ["-A", expected, "-c", "10"]
