"""``lavoro top``: the frames tell what is there, the keys do what they say, and the terminal is given back."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg
import pytest

from lavoro import Lavoro
from lavoro.cli import run_for
from lavoro.cli.top.tables import print_frame
from lavoro.monitoring import top
from lavoro.monitoring.top import Sampler
from lavoro.store import tasks
from lavoro.store.database import Database
from lavoro.store.schema.migrate import migrate
from lavoro.store.tx import Tx
from tests.conftest import Eventually
from tests.doors.terminal import ROOT, Screen
from tests.doors.top_picture import PICTURE, picture
from tests.postgres import Cluster
from tests.store.walk import registered, send, succeeded, take

LEAVES = b"\x1b[?1049l"
"""A terminal leaves the second screen."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "shop.py").write_text("from lavoro import Lavoro\napp = Lavoro('shop')\n")
    return tmp_path


@contextmanager
def screen(folder: Path, url: str, *arguments: str, **size: int) -> Iterator[Screen]:
    words = ("top", "-A", "shop", "--interval", "0.3", *arguments)
    with closing(Screen(folder, *words, lines=size.get("lines", 40), columns=size.get("columns", 160), LAVORO_DATABASE_URL=url)) as shown:  # fmt: skip  # noqa: E501
        yield shown


Shows = Callable[..., None]


@pytest.fixture
def shows(eventually: Eventually) -> Shows:
    def shows(on: Screen, *patterns: str) -> None:
        for pattern in patterns:
            eventually(
                lambda pattern=pattern: re.search(pattern, on.shown(), re.MULTILINE),  # type: ignore[misc]
                timeout=20,
                why=f"{pattern!r} is on the screen:\n{on.shown()}",
            )

    return shows


def filled(url: str) -> None:
    """Two queues, a worker with two running tasks, and a failed one."""
    with Lavoro("shop", broker=url, set_as_current=False) as app:
        failed = app.send_task("shop.total", task_id="failed-one")
        app.fail(failed.id, KeyError("total"))
        app.send_task("shop.post", queue="mail")
        with app.database.tx() as tx:
            worker = registered(tx, lease=3600.0)
            send(tx, name="shop.slow")
            send(tx, name="shop.slower")
            take(tx, worker_id=worker)


def test_a_frame_as_a_value(migrated_url: str) -> None:
    """The rates are those since the frame before."""
    filled(migrated_url)
    sampler, database = Sampler("shop"), Database(migrated_url)
    with database.tx() as tx:
        first = sampler.sample(tx)
        assert first.seconds is None
        assert [(each.name, each.ready, each.running, each.served, each.rate_in) for each in first.queues] == [
            ("mail", 1, 0, False, None),
            ("celery", 0, 2, True, None),
        ]
        assert [(each.node, each.slots, each.running) for each in first.workers] == [("node@test", 4, 2)]
        assert {each.name for each in first.running} == {"shop.slow", "shop.slower"}
        assert [(each.name, each.error, each.failed, each.example) for each in first.failing] == [
            ("shop.total", "KeyError", 1, "failed-one")
        ]
        for _ in range(3):
            send(tx)
        worker = first_worker(tx)
        tasks.finish(tx, worker, [succeeded(job) for job in take(tx, worker_id=worker)])
        second = sampler.sample(tx)
        assert second.seconds is not None
        celery = next(queue for queue in second.queues if queue.name == "celery")
        assert celery.rate_in == pytest.approx(3 / second.seconds)
        assert celery.rate_out == pytest.approx(3 / second.seconds)
        assert second.workers[0].rate == celery.rate_out
        sampler.forget()
        assert sampler.sample(tx).seconds is None
    database.dispose()


def first_worker(tx: Tx) -> int:
    return int(tx.connection.execute("select min(id) from lavoro.worker").fetchall()[0][0])


def test_counts_are_cut(migrated_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(top, "COUNTED", 5)
    sampler, database = Sampler("shop"), Database(migrated_url)
    with database.tx() as tx:
        sampler.sample(tx)
        for _ in range(7):
            send(tx)
        [queue] = sampler.sample(tx).queues
        assert (queue.ready, queue.exact, queue.rate_in) == (5, False, None)
    database.dispose()


def test_without_a_terminal(folder: Path, migrated_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    filled(migrated_url)
    with Lavoro("shop", broker=migrated_url, set_as_current=False) as app:
        assert run_for(app, ["top", "--json", "--interval", "0.2"]) == 0
        assert [each["name"] for each in json.loads(capsys.readouterr().out)["queues"]] == ["mail", "celery"]
        assert run_for(app, ["top", "--once", "--interval", "0.2"]) == 0
        once = capsys.readouterr().out
        assert "1 task waits, 2 run, 1 node, in 0/s, out 0/s\nQueues:\n" in once
        assert re.search(r"^mail +1 +0 +0 +0 +0/s +0/s +\d+ s +no worker serves it$", once, re.MULTILINE)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "LAVORO_DATABASE_URL": migrated_url}
    words = [sys.executable, "-m", "lavoro", "top", "-A", "shop", "--interval", "0.2"]
    with subprocess.Popen(words, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        heads = [line for line, _ in zip(process.stdout, range(40), strict=False) if "1 task waits" in line]
        assert len(heads) > 1, "frame after frame"
        process.send_signal(signal.SIGINT)
        process.stdout.read()
    assert process.returncode == 130


def test_an_empty_frame_is_told(migrated_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    database = Database(migrated_url)
    with database.tx() as tx:
        frame = Sampler("shop").sample(tx)
    database.dispose()
    with Lavoro("shop", broker=migrated_url, set_as_current=False) as app:
        print_frame(frame, app.timezone)
    assert capsys.readouterr().out.splitlines()[1:] == [
        "no tasks wait or run", "no worker lives", "no task runs", "no task has failed",
    ]  # fmt: skip


def test_keys(folder: Path, migrated_url: str, shows: Shows, eventually: Eventually) -> None:
    filled(migrated_url)
    with screen(folder, migrated_url) as shown, psycopg.connect(migrated_url, autocommit=True) as db:

        def rows(query: str) -> list[tuple[object, ...]]:
            return db.execute(query.encode()).fetchall()

        shows(shown, r"1 task waits, 2 run, 1 node", r"^1 Queues", r"^2 Workers", "^3 Running", "^4 Failures")
        shown.press("p")
        shows(shown, "^paused: mail", r"^mail .*paused")
        assert rows("select name from lavoro.queue where paused_at is not null") == [("mail",)]
        shown.press("p")
        shows(shown, "^resumed: mail")
        assert rows("select name from lavoro.queue where paused_at is not null") == []
        shown.press("\x1b[Bp")
        shows(shown, "^paused: celery")

        shown.press("3x")
        shows(shown, r"^End shop\.slow \S+ on node@test\? \[y/N\]")
        shown.press("n")
        shows(shown, "^nothing was done")
        assert rows("select id from lavoro.running where cancel is not null") == []
        shown.press("xy")
        shows(shown, r"asked to end", r"is told to end")
        assert len(rows("select id from lavoro.running where cancel is not null")) == 1

        shown.press("\tt")
        shows(shown, r"^Start shop\.total failed-one again\?")
        shown.press("y")
        shows(shown, r"^failed-one: ", r"no task has failed")
        assert rows("select name from lavoro.waiting where queue = 'celery'") == [("shop.total",)]

        shown.press("\r")
        eventually(lambda: "1 Queues" not in shown.shown(), why="one table alone")
        shown.press("?")
        shows(shown, "pause or resume the queue")
        shown.press("?\x1b")
        shows(shown, "^1 Queues")
        shown.press("q")
        assert shown.end() == 0
        assert LEAVES in shown.read


def test_all_failures_of_a_line_start_again(folder: Path, migrated_url: str, shows: Shows) -> None:
    with Lavoro("shop", broker=migrated_url, set_as_current=False) as app:
        for _ in range(3):
            app.fail(app.send_task("shop.total").id, KeyError("total"))
    with screen(folder, migrated_url) as shown:
        shows(shown, "^4 Failures")
        shown.press("4T")
        shows(shown, r"^Start all of shop\.total that failed with KeyError in the last 15 minutes again\?")
        shown.press("y")
        shows(shown, "^3 tasks started again", "3 tasks wait")


def test_any_size(folder: Path, migrated_url: str, shows: Shows, eventually: Eventually) -> None:
    """It is drawn anew for each; where there is no room for all tables, one is shown."""
    filled(migrated_url)
    with screen(folder, migrated_url) as shown:
        shows(shown, "^4 Failures")
        for lines, columns in ((10, 60), (3, 20), (1, 1), (50, 200)):
            shown.resize(lines, columns)
            eventually(
                lambda columns=columns, lines=lines: (  # type: ignore[misc]
                    (drawn := shown.shown().split("\n"))
                    and max(map(len, drawn)) <= columns
                    and len(drawn) <= lines
                    and (columns < 60 or "task" in drawn[0])
                ),
                why=f"it fits {lines} lines of {columns}:\n{shown.shown()}",
            )
        shows(shown, "^4 Failures")
        assert shown.process.poll() is None


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)])
def test_signals_give_the_terminal_back(folder: Path, migrated_url: str, shows: Shows, number: int, code: int) -> None:
    with screen(folder, migrated_url) as shown:
        shows(shown, "^1 Queues")
        assert shown.modes() != shown.modes_before, "it reads each key"
        shown.process.send_signal(number)
        assert shown.process.wait(30) == code
        assert shown.modes() == shown.modes_before
        assert shown.end() == code
        assert LEAVES in shown.read
        assert b"Traceback" not in shown.read


def test_ctrl_c_and_ctrl_z(folder: Path, migrated_url: str, shows: Shows, eventually: Eventually) -> None:
    with screen(folder, migrated_url) as shown:
        shows(shown, "^1 Queues")
        shown.press("\x1a")
        stopped = f"/proc/{shown.process.pid}/stat"
        eventually(lambda: Path(stopped).read_text().rpartition(")")[2].split()[0] == "T", why="it is stopped")
        assert shown.modes() == shown.modes_before
        drawn = len(shown.read)
        shown.process.send_signal(signal.SIGCONT)
        eventually(lambda: b"1 Queues" in shown.read[drawn:], why="it goes on")
        shown.press("\x03")
        assert shown.end() == 130


def test_a_lost_database(folder: Path, own_cluster: Cluster, shows: Shows) -> None:
    """It says so, keys still work, and it goes on when the database is back."""
    url = own_cluster.url(own_cluster.create_database())
    migrate(url)
    filled(url)
    with screen(folder, url) as shown:
        shows(shown, "1 task waits, 2 run")
        own_cluster.stop("immediate")
        shows(shown, r"^no database, last seen .*; trying again", "^1 Queues")
        shown.press("3\r")
        shows(shown, r"\A(?!.*1 Queues)")
        shown.press("x")
        shows(shown, r"^End shop\.slow")
        shown.press("y")
        shows(shown, "^not done: ")
        own_cluster.start()
        shows(shown, r"\A\d{4}-.*1 task waits, 2 run")
        shown.press("q")
        assert shown.end() == 0


def test_a_locked_table(folder: Path, migrated_url: str, shows: Shows) -> None:
    """Keys work while the database does not answer, and it ends at once."""
    with screen(folder, migrated_url) as shown, psycopg.connect(migrated_url) as db:
        shows(shown, "^1 Queues")
        db.execute("lock table lavoro.waiting in access exclusive mode")
        shown.press("?")
        shows(shown, "pause or resume the queue")
        begun = time.monotonic()
        shown.press("q")
        assert shown.end() == 0
        assert time.monotonic() - begun < 8


def test_the_picture_is_that_of_the_screen() -> None:
    """Else run tests/doors/top_picture.py."""
    assert PICTURE.read_text() == picture()
