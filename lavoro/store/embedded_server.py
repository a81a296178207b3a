"""Makes, finds, starts and stops one PostgreSQL server with a data folder of its own."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from lavoro.exceptions import ImproperlyConfigured, OperationalError
from lavoro.runtime.handlers import signals_put_off
from lavoro.store.embedded_place import OTHER_PLACE, Place, socket_folder

SUPERUSER = "postgres"
PATIENCE = 60.0
"""Seconds for which a server may start or stop."""
LOOK = 0.02
_PASSING = (
    "still in use",  # sessions of a killed server have not noticed yet
    "postmaster.pid",  # another server is just ending
    "No space left",
    "Cannot allocate memory",
    "Too many open files",
    "Resource temporarily unavailable",
)
"""Parts of the errors of a server that did not start, after which another try may help."""


class Address(NamedTuple):
    """The address of a running server, from its file ``postmaster.pid``."""

    pid: int
    port: int
    folder: Path
    ready: bool

    @property
    def url(self) -> str:
        """The URL of its database."""
        return f"postgresql://{SUPERUSER}@/{SUPERUSER}?host={quote(str(self.folder))}&port={self.port}"

    def answers(self) -> bool:
        """Return whether it takes connections; the file of a killed server stays, and its number may be another's."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            try:
                probe.connect(str(self.folder / f".s.PGSQL.{self.port}"))
            except OSError:
                return False
        return True


def running(data: Path) -> Address | None:
    """Find the server of a data folder; None if none runs."""
    try:
        lines = (data / "postmaster.pid").read_text(errors="surrogateescape").splitlines()
        address = Address(int(lines[0]), int(lines[3]), Path(lines[4]), lines[-1].strip() == "ready")
    except (FileNotFoundError, IndexError, ValueError):
        return None
    return address if address.answers() else None


def ensure_running(place: Place) -> Address:
    """Return the address of the server, which is made and started when needed.

    Raises ``ImproperlyConfigured`` if another try cannot help, and ``OperationalError`` if it may.
    """
    if (found := running(place.data)) is None:
        if not (place.data / "PG_VERSION").exists():
            _make(place)
        _start(place)
    until = time.monotonic() + PATIENCE
    while found is None or not found.ready:
        if time.monotonic() > until:
            raise OperationalError(f"the embedded PostgreSQL in {place.data} has not started within {PATIENCE:.0f} s")
        time.sleep(LOOK)
        found = running(place.data)
    return found


def stop(data: Path) -> None:
    """Stop the server, if it runs; raises ``TimeoutError`` if it does not end in time."""
    found = running(data)
    if found is None:
        return
    os.kill(found.pid, signal.SIGINT)  # ends the sessions, then the server
    until = time.monotonic() + PATIENCE
    while (data / "postmaster.pid").exists():
        if time.monotonic() > until:
            raise TimeoutError(f"process {found.pid} has not ended within {PATIENCE:.0f} s")
        time.sleep(LOOK)
    if found.folder != data:
        with contextlib.suppress(OSError):
            found.folder.rmdir()


def _make(place: Place) -> None:
    """Make the data folder under another name first, so that an interrupted one is never used."""
    unfinished = place.data.with_name("postgres.new")
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        _fill(place, unfinished)
        unfinished.replace(place.data)  # also in place of an empty folder
    except BaseException:  # Ctrl-C, too
        shutil.rmtree(unfinished, ignore_errors=True)
        raise


def _fill(place: Place, data: Path) -> None:
    data.mkdir(mode=0o700)
    if place.user:
        os.chown(data, place.user["user"], place.user["group"], follow_symlinks=False)
    said = _initialize(place, data)
    if said and "locale" in said:  # that of the environment is not installed, or has another encoding
        said = _initialize(place, data, "--locale=C")
    if said:
        raise ImproperlyConfigured(f"the embedded PostgreSQL in {place.data} cannot be made: {said}; {OTHER_PLACE}")


def _initialize(place: Place, data: Path, *options: str) -> str:
    arguments = ("--auth=trust", "--encoding=UTF8", f"--username={SUPERUSER}", *options)
    code, said = _run(place, "initdb", *arguments, data=data)
    errors = [line for line in said.splitlines() if "error:" in line] or said.splitlines()[-1:]
    return "; ".join(errors) or f"initdb ended with exit code {code}" if code else ""


def _start(place: Place) -> None:
    log = place.data / "log"
    begin = log.stat().st_size if log.exists() else 0
    # pg_ctl gives these to a shell: neither has a character that means anything to it. The data folder may have some.
    options = f"-h '' -k {socket_folder(place)}"
    arguments = ("start", "-w", "-t", f"{PATIENCE:.0f}", "-l", "log", "-o", options)
    code, said = _run(place, "pg_ctl", *arguments, data=place.data)
    if code == 0:
        return
    why = _last_words(log, begin) or [" ".join(said.split()) or f"pg_ctl ended with exit code {code}"]
    passing = any(word in line for word in _PASSING for line in why) or running(place.data) is not None
    raise (OperationalError if passing else ImproperlyConfigured)(
        f"the embedded PostgreSQL in {place.data} did not start: {'; '.join(why)}; {OTHER_PLACE}"
    )


def _last_words(log: Path, begin: int) -> list[str]:
    """Return the lines of the server's log since it was started that tell why it ended."""
    with contextlib.suppress(OSError), log.open("rb") as file:
        file.seek(begin)
        lines = file.read().decode(errors="replace").splitlines()
        return [line.partition("FATAL:")[2].strip() for line in lines if "FATAL:" in line]
    return []


def _run(place: Place, program: str, *arguments: str, data: Path) -> tuple[int, str]:
    """Run a program of PostgreSQL's for a data folder; return its exit code and its output."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    environment["PGDATA"] = str(data)
    # A file, for the server that pg_ctl leaves behind would hold the end of a pipe.
    with tempfile.TemporaryFile() as output:
        process: subprocess.Popen[bytes] | None = None
        try:
            with signals_put_off():  # else Ctrl-C could come when the program runs, and we have not got its number yet
                # In a session of its own: a terminal sends Ctrl-C to all of ours, and we decide what ends.
                process = subprocess.Popen(
                    [str(place.programs / program), *arguments], cwd=data, env=environment, start_new_session=True,
                    stdin=subprocess.DEVNULL, stdout=output, stderr=output, **place.user,
                )  # fmt: skip
            code = process.wait()
        except BaseException:
            if process is not None:
                if program == "initdb":
                    os.killpg(process.pid, signal.SIGTERM)  # no harder: it waits for the server that it has started
                process.wait()  # a server that is just being started can be stopped only when it answers
            raise
        output.seek(0)
        return code, output.read().decode(errors="replace")
