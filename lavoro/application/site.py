"""One site of an application: its settings, message builders and connections."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lavoro.calling.builders import MessageBuilders
from lavoro.config.settings import Settings
from lavoro.protocol.ids import task_uuid
from lavoro.runtime.forking import ForkedLock
from lavoro.store import embedded, stamps, tasks
from lavoro.store.database import Database
from lavoro.store.result_listener import ResultListener
from lavoro.store.stamps import Stamped


class Site:
    """The settings of a site, and what is made of them: most applications serve one, in Flask there may be several.

    ``prepare`` is called before a database is found, outside of all locks: it may import modules and change settings.
    ``find`` makes the database that settings name.
    """

    def __init__(
        self, conf: Settings, *, prepare: Callable[[], object], find: Callable[[Settings], Database]
    ) -> None:  # fmt: skip
        self.conf = conf
        self.builders = MessageBuilders(self)
        self._prepare, self._find = prepare, find
        self._database: Database | None = None
        self._results: ResultListener | None = None
        self.opened = contextlib.ExitStack()
        """Closes both."""
        self._version = -1
        """Of the settings by which the database was found; no settings have this one."""
        self._place: tuple[Any, ...] = ()
        self._lock = ForkedLock()

    @property
    def database(self) -> Database:
        """The database, found on first use; when the settings name another one, that one is found."""
        if self._version == self.conf.version and (database := self._database) is not None:
            return database
        self._prepare()
        with self._lock.held:
            version, place = self.conf.version, self.place
            if self._database is None or place != self._place:
                self.close()
                self._database, self._place = self._find(self.conf), place
                self.opened.callback(self._database.dispose)
            self._version = version
            return self._database

    @property
    def place(self) -> tuple[Any, ...]:
        """Where the settings say that the database is; nothing is connected."""
        conf = self.conf
        return conf["broker_url"], conf["database_url"], conf["lavoro_schema"]

    @property
    def database_shown(self) -> str:
        """The database for people to read: its URL without the password, or the folder of the embedded one."""
        return embedded.shown(self.conf.database_url, self.conf.lavoro_data_dir)

    @property
    def result_listener(self) -> ResultListener:
        """The listener that learns of finished tasks for this process."""
        database, results = self.database, self._results
        if results is not None:
            return results
        with self._lock.held:
            if self._results is None:
                self._results = ResultListener(database)
                self.opened.callback(self._results.close)
            return self._results

    def revoke(self, ids: Sequence[str], *, terminate: bool, signal: str | None) -> None:
        """Keep tasks from starting; with ``terminate`` also end those that run."""
        with self.database.tx() as tx:
            tasks.revoke(tx, [task_uuid(id) for id in ids], cancel=_how(terminate, signal))

    def revoke_stamped(self, headers: Mapping[str, Any], *, terminate: bool, signal: str | None) -> list[Stamped]:
        """Keep tasks with one of these stamps from starting, also later ones; return those that were found.

        With ``terminate`` also end those that run.
        """
        with self.database.tx() as tx:
            return stamps.revoke(tx, headers, cancel=_how(terminate, signal), running=terminate)

    def close(self) -> None:
        """Close the connections; the next use makes new ones."""
        with self._lock.held:
            self._results = self._database = None
            self.opened.close()


def _how(terminate: bool, signal: str | None) -> str:
    return json.dumps({"terminate": terminate, "signal": signal or "SIGTERM"})
