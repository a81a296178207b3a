"""The schedules of an application as its code and the command line see them: ``app.schedules``."""

from __future__ import annotations

from typing import Any

from lavoro.beat.entries import synchronise
from lavoro.store.schedules import Defined


class Schedules:
    """The schedules in the database of an application."""

    def __init__(self, app: Any) -> None:
        self._app = app

    def define(self) -> Defined:
        """Store the entries of the application's code, as a worker does when it starts; return the changes."""
        with self._app.database.tx() as tx:
            return synchronise(self._app, tx)
