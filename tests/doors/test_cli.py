"""The command line: one line that says what, which and what to do, an exit code, and never a traceback."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lavoro.cli import main
from tests.postgres import Cluster

ROOT = Path(__file__).parents[2]
NOWHERE = "postgresql://postgres@127.0.0.1:1/nowhere"

APPS = {
    "shop": "from lavoro import Lavoro\napp = Lavoro('shop')\n@app.task\ndef add(x, y): return x + y\n",
    "hasty": "from lavoro import Lavoro\napp = Lavoro('hasty', broker_connection_retry=False)\n",
    "strict": (
        "from lavoro import Lavoro\n"
        "app = Lavoro('strict', task_queues=['mail', 'video'], task_create_missing_queues=False)\n"
    ),
    "broken": "import os\n\nvalue = 1 / 0\n",
    "lacking": "import a_module_that_is_nowhere\n",
    "mistyped": "def f(:\n",
    "leaving": "import sys\nsys.exit('not today')\n",
    "empty": "x = 1\n",
    "odd": "from lavoro import Lavoro\napp = Lavoro('odd', worker_pool='eventlet')\n",
    "on_redis": "from lavoro import Lavoro\napp = Lavoro('on_redis', broker='redis://localhost')\n",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with all kinds of modules."""
    folder = tmp_path_factory.mktemp("project")
    for name, text in APPS.items():
        (folder / f"{name}.py").write_text(text)
    return folder


def lavoro(folder: Path, *arguments: str, url: str = NOWHERE) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LAVORO_")}
    environment |= {"LAVORO_DATABASE_URL": url, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "lavoro", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder, timeout=100)


def refuses(result: subprocess.CompletedProcess[str], *words: str, code: int = 1) -> None:
    """One line on standard error with these words."""
    assert result.returncode == code, result.stderr
    assert "Traceback" not in result.stderr + result.stdout
    (line,) = result.stderr.splitlines()
    assert line.startswith("lavoro: ")
    assert all(word in line for word in words), line


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("missing", ["there is no module 'missing'", "-A"]),
        ("broken", ["'broken' could not be loaded", "ZeroDivisionError: division by zero", "broken.py, line 3"]),
        ("lacking", ["'lacking' could not be loaded", "No module named 'a_module_that_is_nowhere'", "line 1"]),
        ("mistyped", ["'mistyped' could not be loaded", "SyntaxError", "mistyped.py, line 1"]),
        ("leaving", ["'leaving' could not be loaded", "SystemExit: not today"]),
        ("empty", ["module 'empty' has no Lavoro application", "-A empty:"]),
        ("shop:nothing", ["module 'shop' has no 'nothing'"]),
        ("odd", ["worker_pool must be one of gevent"]),
        ("on_redis", ["broker_url", "postgresql://"]),
    ],
)
def test_application_that_cannot_be_loaded(folder: Path, module: str, words: list[str]) -> None:
    result = lavoro(folder, "worker", "-A", module, url="" if module == "on_redis" else NOWHERE)
    refuses(result, *words)


def test_traceback_on_request(folder: Path) -> None:
    result = lavoro(folder, "worker", "-A", "broken", "-l", "debug")
    assert result.returncode == 1
    assert "Traceback" in result.stderr
    assert result.stderr.splitlines()[-1].startswith("lavoro: ")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["worker", "-A", "shop", "--colour"], ["No such option", "--colour", "see lavoro worker --help"]),
        (["worker"], ["-A"]),
        (["worker", "-A", "shop", "-c", "many"], ["'many'", "-c"]),
        (["worker", "-A", "shop", "-P", "eventlet"], ["'eventlet'", "gevent"]),
        (["worker", "-A", "shop", "-B"], ["-B", "periodic tasks"]),
        (["worker", "-A", "shop", "-D"], ["-D", "systemd"]),
        (["dance"], ["'dance'", "see lavoro --help"]),
    ],
)
def test_wrong_usage(
    arguments: list[str], words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["lavoro", *arguments])
    with pytest.raises(SystemExit) as exit:
        main()
    assert isinstance(exit.value.code, int)
    said = capsys.readouterr()
    refuses(subprocess.CompletedProcess(arguments, exit.value.code, said.out, said.err), *words, code=2)


def test_help(folder: Path) -> None:
    assert "worker" in lavoro(folder).stdout
    shown = lavoro(folder, "worker", "--help")
    assert shown.returncode == 0
    assert "--max-tasks-per-child" in shown.stdout


@pytest.mark.parametrize("verb", ["worker", "migrate", "status"])
def test_no_server(folder: Path, verb: str) -> None:
    refuses(lavoro(folder, verb, "-A", "hasty"), "127.0.0.1:1/nowhere", "refused", "LAVORO_DATABASE_URL")


def test_wrong_password(folder: Path, cluster: Cluster) -> None:
    result = lavoro(folder, "worker", "-A", "hasty", url=cluster.guarded_url(password="guessed"))
    refuses(result, "password authentication failed", "guarded:***@")
    assert "guessed" not in result.stderr


def test_wrong_database(folder: Path, cluster: Cluster) -> None:
    refuses(lavoro(folder, "worker", "-A", "hasty", url=cluster.url("nothing_here")), 'database "nothing_here"')


@pytest.mark.parametrize("verb", ["worker", "status", "purge"])
def test_missing_schema(folder: Path, database_url: str, verb: str) -> None:
    arguments = ["--force"] if verb == "purge" else []
    refuses(lavoro(folder, verb, "-A", "shop", *arguments, url=database_url), "run `lavoro migrate -A")


@pytest.mark.parametrize("option", ["-Q", "-X"])
def test_unknown_queue(folder: Path, option: str) -> None:
    refuses(lavoro(folder, "worker", "-A", "strict", option, "mail,post"), "'post'", "mail, video", option)


def test_no_queue_left(folder: Path) -> None:
    refuses(lavoro(folder, "worker", "-A", "strict", "-X", "mail,video"), "no queue is left", "-X")


def test_descriptor_that_is_not_open(folder: Path) -> None:
    refuses(lavoro(folder, "worker", "-A", "shop", "--stop-with", "77"), "--stop-with", "77")


def test_migrate_and_status(folder: Path, database_url: str) -> None:
    """Exit code 69 says that nobody works, as Celery's."""
    assert "applied 0001" in lavoro(folder, "migrate", "-A", "shop", url=database_url).stdout
    assert "up to date" in lavoro(folder, "migrate", "-A", "shop", url=database_url).stdout
    sent = "import shop; shop.add.delay(1, 2)"
    environment = {**os.environ, "LAVORO_DATABASE_URL": database_url, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", sent], env=environment, cwd=folder, check=True, timeout=60)
    status = lavoro(folder, "status", "-A", "shop", "--json", url=database_url)
    assert status.returncode == 69, status.stderr
    found = json.loads(status.stdout)
    assert found["workers"] == []
    ((queue),) = found["queues"]
    assert (queue["queue"], queue["ready"], queue["running"]) == ("celery", 1, 0)
    shown = lavoro(folder, "-A", "shop", "status", url=database_url)
    assert re.search(r"celery\W+1\W", shown.stdout)
    assert "deleted 1 tasks" in lavoro(folder, "purge", "-A", "shop", "-f", url=database_url).stdout


def test_roles_are_printed_without_a_database(folder: Path) -> None:
    shown = lavoro(folder, "migrate", "-A", "shop", "--roles")
    assert shown.returncode == 0, shown.stderr
    assert 'grant execute on function "lavoro".enqueue to lavoro_producer;' in shown.stdout.splitlines()


def test_worker_from_its_options(folder: Path, migrated_url: str, tmp_path: Path) -> None:
    """Celery's options that mean nothing here are taken as they come."""
    pidfile = tmp_path / "pid"
    command = [
        *(
            sys.executable,
            "-m",
            "lavoro",
            "worker",
            "-A",
            "shop",
            "-E",
            "-Ofair",
            "--without-gossip",
            "--without-mingle",
        ),
        *(
            "--prefetch-multiplier",
            "1",
            "-n",
            "w1@%h",
            "-l",
            "INFO",
            "--pidfile",
            str(pidfile),
            "-c",
            "2",
            "-P",
            "threads",
        ),
    ]
    environment = {**os.environ, "LAVORO_DATABASE_URL": migrated_url, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment, cwd=folder) as process:
        assert process.stderr is not None
        line = next(line for line in process.stderr if " ready: threads, 1 process of 2 slots" in line)
        assert "w1@" in line
        assert int(pidfile.read_text()) == process.pid
        status = lavoro(folder, "status", "-A", "shop", "-j", url=migrated_url)
        assert status.returncode == 0
        assert json.loads(status.stdout)["workers"][0]["slots"] == 2
        process.terminate()
        process.stderr.read()
        assert process.wait(60) == 0
    assert not pidfile.exists()


def test_verbs_of_celery_and_misspelt_ones(folder: Path) -> None:
    for verb, words in (
        ("beat", "lavoro beat: periodic tasks do not start in this release: let cron"),
        ("inspect", "lavoro inspect: this release has no remote control"),
        ("control", "lavoro control: this release has no remote control"),
        ("events", "lavoro events: this release sends no events"),
        ("call", "lavoro call: app.send_task"),
        ("shell", "start python and import the application"),
        ("report", "`lavoro doctor` tells of the database"),
        ("multi", "several workers are several commands"),
        ("wroker", "no such command 'wroker': did you mean 'worker'?"),
    ):
        refuses(lavoro(folder, "-A", "shop", verb, "-l", "info"), words, "see lavoro --help", code=2)
    refuses(lavoro(folder, "dance"), "No such command 'dance'", code=2)
