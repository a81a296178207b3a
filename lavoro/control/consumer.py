"""The parts of a worker that commands of an application find as `state.consumer`, as in Celery."""

from __future__ import annotations

from typing import Any

from lavoro.exceptions import NotSupported


class Part:
    """A part of the node: what it does is a command to the node, which the process that replies sends once.

    An attribute that Celery's part has and this one has not raises NotSupported.
    """

    def __init__(self, app: Any, hostname: str, *, acts: bool) -> None:
        self.app, self.hostname, self._acts = app, hostname, acts

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        raise NotSupported(
            f"state.consumer has no {name!r}: commands find there pool.grow and pool.shrink, add_task_queue and"
            " cancel_task_queue, controller.pool and controller.stop; app.control has all others"
        )

    def _send(self, command: str, *arguments: Any) -> None:
        if self._acts:
            getattr(self.app.control, command)(*arguments, destination=[self.hostname])


class NodePool(Part):
    """The pool of the node."""

    def grow(self, n: int = 1) -> None:
        """Have ``n`` more slots; the node does so after the command has returned."""
        self._send("pool_grow", n)

    def shrink(self, n: int = 1) -> None:
        """Have ``n`` fewer slots."""
        self._send("pool_shrink", n)


class Controller(Part):
    """The node as a whole."""

    @property
    def pool(self) -> NodePool:
        """Its pool."""
        return NodePool(self.app, self.hostname, acts=self._acts)

    def stop(self) -> None:
        """Stop as SIGTERM does."""
        self._send("shutdown")


class Consumer(Controller):
    """The node as Celery's consumer."""

    @property
    def controller(self) -> Controller:
        """The node as a whole."""
        return Controller(self.app, self.hostname, acts=self._acts)

    def add_task_queue(self, queue: str, *exchanges: Any, **options: Any) -> None:
        """Serve one more queue; exchanges and keys are passed over."""
        self._send("add_consumer", queue)

    def cancel_task_queue(self, queue: str) -> None:
        """Serve a queue no longer."""
        self._send("cancel_consumer", queue)
