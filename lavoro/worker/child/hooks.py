"""Runs the application's functions of start and end in a child, and makes and closes its resources."""

from __future__ import annotations

import logging
from typing import Any

from lavoro.application import hooks
from lavoro.exceptions import LavoroError, OperationalError
from lavoro.worker.child.fleet import FleetStart
from lavoro.worker.pipe import Pipe

logger = logging.getLogger("lavoro.worker")


class StartupFailed(LavoroError):
    """A start-up function or a resource of the application failed: no other process would do better."""


class ChildHooks:
    """The functions of one child: ``pipe`` tells the supervisor how far it is."""

    def __init__(self, app: Any, pipe: Pipe) -> None:
        self._app, self._pipe = app, pipe
        self._open = False

    def start(self, worker_id: int, *, node: bool) -> None:
        """Run the functions of the process, after those of the fleet and the ``node``, and make the resources."""
        app = self._app
        self._open = True
        app.resources.enter()
        try:
            if node:
                FleetStart(app, self._pipe, worker_id).run()
                hooks.start(app.startup.of("worker"), app.resources)
                self._pipe.send("node_started")
            hooks.start(app.startup.of("process"), app.resources)
            app.resources.make_all(app.tasks.values())
        except BaseException as error:
            self.close()
            if not isinstance(error, LavoroError) or isinstance(error, OperationalError):
                raise
            raise StartupFailed(str(error)) from error.__cause__

    def stop_process(self) -> None:
        """Run those of the end of the process."""
        hooks.stop(self._app.shutdown.of("process"), self._app.resources)

    def stop_node(self) -> None:
        """Run those of the end of the node."""
        hooks.stop(self._app.shutdown.of("worker"), self._app.resources)

    def close(self, *, running: int = 0) -> None:
        """Close the resources; leave them open if tasks still use them: an error would count as that of the task."""
        if not self._open:
            return
        self._open = False
        if running and self._app.resources.opened:
            logger.warning("the resources are not closed: tasks still run")
        else:
            self._app.resources.leave()
