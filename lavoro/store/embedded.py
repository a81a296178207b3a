"""The embedded PostgreSQL: the first process starts it from a wheel, all share it, the last one stops it."""

from __future__ import annotations

import atexit
import contextlib
import errno
import fcntl
import logging
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO, ClassVar

from lavoro.exceptions import ImproperlyConfigured, OperationalError
from lavoro.runtime.forking import in_each_fork
from lavoro.store import embedded_server
from lavoro.store.embedded_place import OTHER_PLACE, check_wheel, place_of
from lavoro.store.url import masked

logger = logging.getLogger("lavoro.store")

DATA_FOLDER = ".lavoro"
_PASSING = (errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN)
"""Errors of a resource that may be there again in a moment."""


class EmbeddedPostgres:
    """A PostgreSQL in a folder of the project, shared by every process that names the same folder.

    Each process holds a shared lock on a file in it. At exit it tries the exclusive lock: the process that gets it is
    the last, and stops the server. The kernel drops the locks of a killed process, so nothing is left to clean up.
    """

    _open: ClassVar[dict[Path, EmbeddedPostgres]] = {}
    _opening = threading.Lock()

    def __init__(self, folder: Path) -> None:
        check_wheel()
        self.folder = folder
        self._process = os.getpid()
        self.told = False
        """Whether its folder was logged."""
        with _own_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            self._users = (folder / "users.lock").open("a")
        fcntl.flock(self._users, fcntl.LOCK_SH)
        atexit.register(self.leave)

    @classmethod
    def at(cls, folder: str | Path | None = None) -> EmbeddedPostgres:
        """Return this process's handle of the server in a folder (default: ``.lavoro`` in the working directory)."""
        path = Path(folder or os.environ.get("LAVORO_DATA_DIR") or DATA_FOLDER).expanduser().resolve()
        with cls._opening:
            if path not in cls._open:
                cls._open[path] = cls(path)
            return cls._open[path]

    @classmethod
    def _forget_after_fork(cls) -> None:
        """In the child of a fork: drop the parent's shares, which are not given up while they stay open here."""
        for handle in cls._open.values():
            handle._users.close()
        cls._open.clear()
        cls._opening = threading.Lock()

    def url(self) -> str:
        """Return the server's URL; starts it when it does not run, again when it was killed.

        Raises ``OperationalError`` if another try may help, else ``ImproperlyConfigured``.
        """
        with self._opening, _own_errors(self.folder), _exclusive(self.folder / "start.lock"):
            address = embedded_server.ensure_running(place_of(self.folder))
        if not self.told:
            self.told = True
            logger.info("the database is the embedded PostgreSQL in %s", self.folder)
        return address.url

    def leave(self) -> None:
        """Give up this process's share, and stop the server if it was the last."""
        if self._users.closed or self._process != os.getpid():
            return
        with self._opening, self._users:
            self._open.pop(self.folder, None)
            # If the folder was deleted, the server ends by itself within a minute.
            with contextlib.suppress(FileNotFoundError), _exclusive(self.folder / "start.lock"):
                if self._is_last():
                    self._stop()

    def _is_last(self) -> bool:
        try:
            fcntl.flock(self._users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True

    def _stop(self) -> None:
        try:
            embedded_server.stop((self.folder / "postgres").resolve())
        except OSError as error:
            logger.warning("the embedded PostgreSQL in %s did not stop: %s", self.folder, error)


in_each_fork(EmbeddedPostgres._forget_after_fork)


@contextlib.contextmanager
def _own_errors(folder: Path) -> Iterator[None]:
    """Translate errors of a folder: ``OperationalError`` if another try may help, else ``ImproperlyConfigured``."""
    try:
        if "\n" in str(folder):  # PostgreSQL's own file of the running server has one entry a line
            raise OSError(errno.EINVAL, "its name has a line break", str(folder))
        yield
    except OSError as error:
        raise (OperationalError if error.errno in _PASSING else ImproperlyConfigured)(
            f"no database is named, and the folder of the embedded PostgreSQL cannot be used: {error}; {OTHER_PLACE}"
        ) from error


class _exclusive:
    """Hold a lock file for a moment: starting and stopping exclude each other between processes."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        self._file: IO[str] = self._path.open("a")
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        self._file.close()


def shown(url: str | None, folder: str | Path | None = None) -> str:
    """Return the name of a database to show: its URL without the password; None is the embedded one in the folder."""
    return f"embedded, {EmbeddedPostgres.at(folder).folder}" if url is None else masked(url)


def url(folder: str | Path | None = None) -> str:
    """Return the URL of the embedded PostgreSQL, starting it when needed."""
    return EmbeddedPostgres.at(folder).url()
