"""Routes the database's notifications to the children, and asks for those of new tasks only while a child sleeps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from lavoro.store.database import Database
from lavoro.store.listener import Listener
from lavoro.store.notifications import (
    Back,
    Cancel,
    Command,
    Due,
    Ended,
    Later,
    Lease,
    Limits,
    Schedules,
    Unhandled,
    read,
    write,
)
from lavoro.worker.supervisor.children import Children
from lavoro.worker.supervisor.process import ChildProcess


class Heard(NamedTuple):
    """Functions that the router calls, in the listener's thread."""

    renew: Callable[[], object]
    """A task of the children may have been cancelled."""
    expect_expiry: Callable[[float], object]
    """The lease of another node starts or is shortened: it ends in so many seconds."""
    handle: Callable[[], object]
    """Handlers of a task may be due."""
    interrupt: Callable[[Ended], object]
    """A task was ended from outside, which a child may run."""
    schedules: Callable[[], object]
    """Schedules have changed, or may have."""
    limits: Callable[[], object]
    """A limit holds tasks that come back when time has passed, or may do so."""
    command: Callable[[str | None], object]
    """A command was sent to a node; None: perhaps one to this node."""


class NotificationRouter:
    """One listening connection for all children."""

    def __init__(self, database: Database, children: Children, heard: Heard) -> None:
        self._children, self._renew = children, heard.renew
        self._schedules, self._limits, self._command = heard.schedules, heard.limits, heard.command
        self._pass_on: dict[type, Callable[[Any], object]] = {
            Due: self._wake,
            Later: self._wake,
            Back: self._wake_all,
            Cancel: self._cancel,
            Ended: heard.interrupt,
            Unhandled: lambda ended: heard.handle() if ended.queue in self.queues else None,
            Schedules: lambda changed: heard.schedules(),
            Limits: lambda held: heard.limits(),
            Command: lambda command: heard.command(command.node),
            Lease: lambda lease: heard.expect_expiry(lease.seconds),
        }
        self._listener = Listener(database, "wake", self._heard, lost=lambda: self._tell_sleeping(listening=False))
        self.queues: tuple[str, ...] = ()

    def start(self) -> None:
        """Begin to listen."""
        self._listener.start()

    def stop(self) -> None:
        """Listen no longer."""
        self._listener.stop(5)

    def update(self) -> None:
        """Listen for new tasks while a child sleeps."""
        sleeping = any(child.sleeping for child in self._children.ready)
        self._listener.want([f"queue:{queue}" for queue in self.queues] if sleeping else [])

    def serve(self, queues: tuple[str, ...]) -> None:
        """Listen for other queues from now on."""
        self.queues = queues
        self.update()
        self._listener.when_heard(lambda: self._tell_sleeping(listening=True))

    def set_sleeping(self, child: ChildProcess, *, sleeping: bool) -> None:
        """Take in that a child sleeps from now on, or no longer."""
        child.sleeping = sleeping
        self.update()
        if sleeping:  # no notification tells of a task stored before the lock is held: the child polls once more
            self._listener.when_heard(lambda: child.pipe.send("listening", listening=True))

    def _heard(self, payload: str | None) -> None:
        """Pass a notification to the children, in the listener's thread; None: some may be missing."""
        if payload is None:
            self._tell_sleeping(listening=True)
            self._renew()
            self._schedules()
            self._limits()
            self._command(None)
            self._wake_all(Back(""))
        elif (notification := read(payload)) is not None:
            self._pass_on[type(notification)](notification)

    def _cancel(self, cancel: Cancel) -> None:
        """Renew the leases if the task to cancel is ours: the answer lists cancelled tasks."""
        if cancel.worker_id in {child.worker_id for child in self._children.ready}:
            self._renew()

    def _wake(self, stored: Due | Later) -> None:
        """Tell the sleeping children of a new task."""
        if stored.queue in self.queues:
            for child in self._children.ready:
                if child.sleeping:
                    child.pipe.try_send("wake", what=write(stored))

    def _wake_all(self, back: Back) -> None:
        """Tell all children: the tasks that came back may be older than those that were claimed last."""
        if back.queue in (*self.queues, ""):
            for child in self._children.ready:
                child.pipe.try_send("wake", what=write(back))

    def _tell_sleeping(self, *, listening: bool) -> None:
        for child in self._children.ready:
            if child.sleeping:
                child.pipe.send("listening", listening=listening)
