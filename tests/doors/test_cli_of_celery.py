"""The command line takes every option of Celery's: it does what that says, or says why not."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from lavoro import Lavoro
from lavoro.cli import run_for
from lavoro.worker.config import concurrency_of
from tests import copies
from tests.conftest import Eventually

APP = """
import os
from lavoro import Lavoro
app = Lavoro("shop", broker={url!r})

@app.task(name="tell")
def tell(path):
    conf = app.conf
    with open(path, "w") as file:
        values = os.getcwd(), conf.worker_prefetch_multiplier, conf.worker_lost_wait, conf.task_track_started
        print(*values, f"{{os.umask(0o77):o}}", end="", file=file)

if __name__ == "__main__":
    raise SystemExit(app.worker_main(["worker", "-c", "1", "-l", "info"]))
"""
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def folder(tmp_path: Path, migrated_url: str) -> Path:
    (tmp_path / "shop.py").write_text(APP.format(url=migrated_url))
    return tmp_path


@pytest.fixture
def run(folder: Path) -> Run:
    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return copies.run("lavoro", *arguments, environment={**os.environ, **environment}, folder=folder)

    return run


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["worker", "--autoscale", "3,10"], "the most slots come first: '3,10' has fewer than the least"),
        (["worker", "--autoscale", "many"], "must be MAX,MIN, such as 10,3, not 'many'"),
        (["worker", "--executable", "/bin/python"], "--executable: start the worker with that interpreter"),
        (["beat", "--enable-remote-control"], "--enable-remote-control: this release answers no ping"),
        (["beat", "--max-interval", "0"], "'--max-interval'"),
        (["beat", "--", "beat.colour=red"], "there is no setting 'beat_colour'"),
        (["worker", "-c", "many"], "must be a whole number or 'auto', not 'many'"),
        (["worker", "--umask", "9"], "must be an octal number such as 027, not '9'"),
        (["worker", "--uid", "no_such_user"], "--uid, --gid: "),
        (["worker", "--", "worker.concurrency"], "'worker.concurrency' is no setting: write name=value"),
        (["worker", "--", "worker.colour=red"], "there is no setting 'worker_colour'"),
        (["worker", "--", ".concurrency=red"], "worker_concurrency must be a whole number"),
        (["--loader", "mine:L", "worker"], "--loader: give the class to the application"),
        (["worker", "--loader", "mine:L"], "--loader: give the class to the application"),
        (["migrate", "amqp://a", "amqp://b"], "it moves no messages between brokers"),
        (["--workdir", "no_such_folder", "worker"], "Directory 'no_such_folder' does not exist"),
    ],
)
def test_what_is_refused_says_why(run: Run, arguments: list[str], says: str) -> None:
    ended = run("-A", "shop", *arguments)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert says in ended.stderr
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_options_before_and_after_the_verb(folder: Path, run: Run, migrated_url: str, after: bool) -> None:
    inner = folder / "inner"
    inner.mkdir()
    (inner / "deep.py").write_text("from lavoro import Lavoro\napp = Lavoro('deep', broker='postgresql://h/no')\n")
    (inner / "live.py").write_text("lavoro_schema = 'nowhere'\n")
    options = ["--workdir", str(inner), "-A", "deep", "-b", migrated_url, "-C", "--skip-checks"]

    def status(*more: str) -> subprocess.CompletedProcess[str]:
        return run("status", *options, *more) if after else run(*options, *more, "status")

    quiet = status("-q", "--result-backend", "redis://")
    assert (quiet.returncode, quiet.stderr) == (69, "")
    assert "no live worker" in quiet.stdout
    told = status("--result-backend", "redis://").stderr
    assert told == ("lavoro: --result-backend changes nothing: results are rows of the database that holds the tasks\n")
    assert "schema 'nowhere' has no tables" in status("--config", "live").stderr
    assert "--config: 'nosuch' cannot be imported" in status("--config", "nosuch").stderr


WORKER = [
    "-n", "w@h", "-S", "state", "-l", "INFO", "-O", "fair", "--prefetch-multiplier", "2", "-c", "auto", "-P", "threads",
    "-E", "--events", "--time-limit", "60", "--soft-time-limit", "50", "--max-tasks-per-child", "100",
    "--pool-start-method", "spawn", "--max-memory-per-child", "1000000", "--purge", "-Q", "celery,b", "-X", "b",
    "-I", "json", "--without-gossip", "--without-mingle", "--without-heartbeat", "--heartbeat-interval", "5",
    "-s", "file", "--umask", "027", "--gid", str(os.getgid()), "--uid", str(os.getuid()),
    "--", "worker.lost_wait=3", "task.track_started=yes",
]  # fmt: skip


def test_every_option_of_a_worker_is_taken(
    folder: Path, migrated_url: str, tmp_path: Path, eventually: Eventually
) -> None:
    if os.getuid() != 0:
        WORKER[WORKER.index("--gid") : WORKER.index("--")] = []
    told = tmp_path / "told"
    environment = {**os.environ, "CELERY_WORKER_LOGFILE": str(tmp_path / "log")}
    command = [sys.executable, "-m", "lavoro", "-A", "shop", "worker", *WORKER]
    _run_and_stop(command, folder, environment, migrated_url, told, eventually)
    assert told.read_text() == f"{folder} 2 3 True 27"
    assert "w@h ready: threads" in (tmp_path / "log").read_text()


def test_an_application_runs_its_worker_itself(
    folder: Path, migrated_url: str, tmp_path: Path, eventually: Eventually
) -> None:
    told = tmp_path / "told"
    _run_and_stop([sys.executable, "shop.py"], folder, {**os.environ}, migrated_url, told, eventually)
    assert told.read_text().startswith(f"{folder} 4 10.0 False ")


def _run_and_stop(
    command: list[str], folder: Path, environment: dict[str, str], url: str, told: Path, eventually: Eventually
) -> None:
    repository = str(Path(__file__).parents[2])
    path = os.pathsep.join(filter(None, [repository, environment.get("PYTHONPATH")]))
    with (folder / "errors").open("w") as errors:
        worker = subprocess.Popen(command, cwd=folder, env={**environment, "PYTHONPATH": path}, stderr=errors)
    try:
        eventually(lambda: _nodes(url) or worker.poll() is not None, timeout=60, why="the worker has a lease")
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("select lavoro.enqueue('tell', %s)", [f'["{told}"]'])
        eventually(lambda: told.exists() and told.read_text(), timeout=60, why="the task has run")
    finally:
        worker.terminate()
        code = worker.wait(timeout=60)
    assert code == 0, (folder / "errors").read_text()


def _nodes(url: str) -> list[tuple[str]]:
    with psycopg.connect(url) as connection:
        return connection.execute("select node from lavoro.worker").fetchall()


@pytest.mark.parametrize(("value", "slots"), [("auto", None), (None, None), (3, 3)])
def test_concurrency_auto_is_left_to_the_pool(value: object, slots: int | None) -> None:
    class Conf:
        worker_concurrency = value

    assert concurrency_of(Conf) == slots


@pytest.mark.parametrize(
    ("variables", "words", "code"),
    [
        ({"CELERY_APP": "shop", "CELERY_STATUS_JSON": "1"}, '{"database": ', 69),
        ({"CELERY_APP": "nosuch"}, "", 1),
        ({"CELERY_APP": "shop", "CELERY_RESULT_BACKEND": "redis://h"}, "no live worker", 69),
    ],
)
def test_the_command_celery_reads_its_variables(folder: Path, variables: dict[str, str], words: str, code: int) -> None:
    root = Path(__file__).parents[2]
    path = os.pathsep.join([str(root / "compat"), str(root)])
    ended = copies.run("celery", "status", environment={**os.environ, "PYTHONPATH": path, **variables}, folder=folder)
    assert ended.returncode == code, ended.stderr
    assert words in ended.stdout


def test_an_installed_package_adds_a_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """As Flower does."""
    (tmp_path / "petals-1.dist-info").mkdir()
    (tmp_path / "petals-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: petals\nVersion: 1\n")
    points = "[celery.commands]\npetals = petals:petals\nthorns = petals:thorns\n"
    (tmp_path / "petals-1.dist-info" / "entry_points.txt").write_text(points)
    code = (
        "import click\nfrom lavoro.cli.added import CeleryCommand\n"
        "@click.command(cls=CeleryCommand)\n@click.pass_context\n"
        "def petals(ctx):\n    click.echo(f'petals of {ctx.obj.app.main}, {ctx.obj.quiet}')\n"
        "thorns = None\n"
    )
    (tmp_path / "petals.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    assert run_for(Lavoro("rose", set_as_current=False), ["petals"]) == 0
    assert capsys.readouterr().out == "petals of rose, False\n"
    assert run_for(Lavoro("rose", set_as_current=False), ["thorns"]) == 2
