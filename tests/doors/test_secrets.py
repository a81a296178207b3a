"""A password never shows: not in a log, not in an error, not in what people print."""

from __future__ import annotations

import logging
import os
import traceback
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest

from lavoro import Lavoro
from lavoro.exceptions import LavoroError
from lavoro.store.schema.migrate import migrate
from tests import copies
from tests.conftest import Eventually
from tests.postgres import GUARDED_PASSWORD, GUARDED_USER, Cluster
from tests.worker.conftest import PATIENCE, StartWorker, rows, sending_to, workers

ROOT = Path(__file__).parents[2]
PASSWORD = "Pass@w/rd:?#%é&=x"
"""With everything that a URL might trip over."""


def shows(text: str, *passwords: str) -> bool:
    """Whether a password, or a long part of it, stands in the text as it is or as a URL writes it."""
    forms = {form for password in passwords for form in (password, quote(password, safe=""), quote(password))}
    forms |= {password[5:] for password in passwords if len(password) > 10}
    return any(form in text for form in forms)


def test_the_scan_finds_what_it_looks_for() -> None:
    for text in (PASSWORD, f"postgresql://u:{quote(PASSWORD, safe='')}@h/n", "x" + PASSWORD[5:]):
        assert shows(text, PASSWORD)
    assert not shows("postgresql://u:***@h/n", PASSWORD)


@pytest.fixture
def wrong(cluster: Cluster) -> list[str]:
    """URLs with the password that lead nowhere, in all the ways there are."""
    good = f"127.0.0.1:{cluster.port}"
    return [
        f"postgresql://{GUARDED_USER}:{quote(PASSWORD, safe='')}@{good}/postgres",
        f"postgresql://{GUARDED_USER}:{PASSWORD}@{good}/postgres",
        f"postgresql+psycopg://{GUARDED_USER}:{quote(PASSWORD, safe='')}@127.0.0.1:1/nowhere",
        f"postgresql://{GUARDED_USER}@{good}/postgres?password={quote(PASSWORD, safe='')}",
        f"postgresql://{GUARDED_USER}:{quote(PASSWORD, safe='')}@{good}/postgres?no_such_option=1",
        f"postgresql://{GUARDED_USER}:{quote(PASSWORD, safe='')}@no.such.host.invalid/postgres",
        f"mysql://{GUARDED_USER}:{quote(PASSWORD, safe='')}@{good}/postgres",
        f"redis://:{quote(PASSWORD, safe='')}@{good}/0",
    ]


def test_errors_of_the_application(wrong: list[str], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    told = []
    for url in wrong:
        app = Lavoro("secret", broker=url, set_as_current=False, broker_connection_timeout=2, task_publish_retry=False)
        for attempt in (lambda app=app: app.send_task("add", [1]), lambda app=app: app.AsyncResult("x").state):
            with pytest.raises(LavoroError) as caught:
                attempt()
            told.append("".join(traceback.format_exception(caught.value)))
        told += [repr(app), repr(app.conf), app.conf.humanize(), str(app.conf.table())]
        app.close()
    assert not any(shows(text, PASSWORD) for text in [*told, caplog.text])


@pytest.mark.parametrize(
    "verb",
    ["worker", *(pytest.param(verb, marks=pytest.mark.slow) for verb in ("migrate", "status", "doctor", "health"))],
)
def test_errors_of_the_command_line(tmp_path: Path, wrong: list[str], verb: str) -> None:
    (tmp_path / "shop.py").write_text(
        "from lavoro import Lavoro\napp = Lavoro('shop', broker_connection_retry=False)\n"
    )
    for url in (wrong[0], wrong[4], wrong[6]):
        environment = {name: value for name, value in os.environ.items() if not name.startswith("LAVORO_")}
        environment |= {"LAVORO_DATABASE_URL": url, "PYTHONPATH": str(ROOT)}
        command = ["lavoro", verb, "-A", "shop", *(["-l", "debug"] if verb == "worker" else [])]
        done = copies.run(*command, environment=environment, folder=tmp_path)
        assert done.returncode == 1
        assert not shows(done.stdout + done.stderr, PASSWORD), done.stderr


@pytest.fixture
def guarded(cluster: Cluster) -> Iterator[str]:
    """A migrated database of the user with a password."""
    name = cluster.create_database()
    cluster.execute(f"create schema lavoro authorization {GUARDED_USER}", dbname=name)
    migrate(cluster.guarded_url(name))
    yield cluster.guarded_url(name)
    cluster.drop_database(name)


@pytest.fixture
def start_worker(tmp_path: Path, eventually: Eventually) -> Iterator[StartWorker]:
    with workers(tmp_path, eventually) as start:
        yield start


def test_the_log_of_a_worker_that_loses_its_connections(
    start_worker: StartWorker, guarded: str, cluster: Cluster, eventually: Eventually
) -> None:
    """With every word logged, from the first connection through broken ones to the last."""
    worker = start_worker("-l", "debug", url=guarded)
    with sending_to(guarded) as sender:
        assert sender.send_task("add", [1, 2]).get(timeout=PATIENCE) == 3
        kill = (
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where usename = %s and application_name like 'lavoro-%%'"
        )
        listens = "select 1 from pg_stat_activity where usename = %s and application_name = 'lavoro-listener'"
        with psycopg.connect(cluster.url(), autocommit=True) as boss:
            # It alone notices at once that its connection is gone, and it may begin after the first task.
            eventually(lambda: boss.execute(listens, [GUARDED_USER]).fetchone(), timeout=PATIENCE, why="it listens")
            boss.execute(kill, [GUARDED_USER])
        worker.until("terminating connection")
        assert sender.send_task("add", [2, 2]).get(timeout=PATIENCE) == 4
        assert rows(sender, "select count(*) from lavoro.finished") == [(2,)]
    assert worker.stop() == 0
    assert not shows(worker.log, GUARDED_PASSWORD)


def test_the_log_of_a_worker_that_is_not_let_in(start_worker: StartWorker, wrong: list[str]) -> None:
    worker = start_worker("-l", "debug", url=wrong[0], ready=False)
    worker.until("password authentication failed")
    assert not shows(worker.log, PASSWORD)
