"""The switchboard: passes on to the children what the database says, and has it said only while somebody rests."""

from __future__ import annotations

import re
from collections.abc import Callable

from lavoro.store.database import Database
from lavoro.store.listener import Listener
from lavoro.worker.supervisor.children import Children
from lavoro.worker.supervisor.process import ChildProcess

_HANDED = re.compile(r">(?P<worker>\d{1,19}):(?P<id>[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})")
_TASK = re.compile(r"[+~]-?\d{1,5}:(?P<queue>.*)", re.DOTALL)
_BACK = re.compile(r"!(?P<queue>.*)", re.DOTALL)
_CANCEL = re.compile(r"x(?P<worker>\d{1,19}):.*")
_LEASE = re.compile(r"l(?P<seconds>\d{1,9}(?:\.\d{1,9})?)")


class Switchboard:
    """One listening connection for all children.

    Calls ``renew()`` when a task of theirs may have been cancelled, and ``expect_expiry(seconds)`` when the lease of
    another node starts or is shortened.
    """

    def __init__(
        self,
        database: Database,
        children: Children,
        *,
        renew: Callable[[], object],
        expect_expiry: Callable[[float], object],
    ) -> None:
        self._children, self._renew = children, renew
        self._words: dict[re.Pattern[str], Callable[[re.Match[str]], object]] = {
            _HANDED: self._hand,
            _TASK: self._wake,
            _BACK: self._wake_all,
            _CANCEL: self._cancel,
            _LEASE: lambda found: expect_expiry(float(found["seconds"])),
        }
        """What is said, and who passes it on; what nobody of ours has said fits none."""
        self._listener = Listener(database, "wake", self._heard, lost=lambda: self._tell_resting(listening=False))
        self.queues: tuple[str, ...] = ()

    def start(self) -> None:
        """Begin to listen."""
        self._listener.start()

    def stop(self) -> None:
        """Listen no longer."""
        self._listener.stop(5)

    def update(self) -> None:
        """Ask to be told of new tasks if one of the children rests."""
        resting = any(child.sleeping for child in self._children.ready)
        self._listener.want([f"queue:{queue}" for queue in self.queues] if resting else [])

    def rest(self, child: ChildProcess, *, resting: bool) -> None:
        """A child rests from now on, or no longer."""
        child.sleeping = resting
        self.update()
        if resting:  # Until the lock is held a task may come unannounced: the child looks once more after this.
            self._listener.when_heard(lambda: child.pipe.send("rest", listening=True))

    def _heard(self, payload: str | None) -> None:
        """Pass a notification on to who can use it, in the listener's thread; None: some may have been missed."""
        if payload is None:
            self._tell_resting(listening=True)
            self._renew()
            payload = "!"
        for words, passed_on in self._words.items():
            if found := words.fullmatch(payload):
                passed_on(found)

    def _hand(self, found: re.Match[str]) -> None:
        """A call has claimed a task for one of our children, perhaps."""
        for child in self._children.ready:
            if child.worker_id == int(found["worker"]):
                child.pipe.send("hand", id=found["id"])

    def _cancel(self, found: re.Match[str]) -> None:
        """A running task is to be cancelled: a renewal tells which."""
        if int(found["worker"]) in {child.worker_id for child in self._children.ready}:
            self._renew()

    def _wake(self, found: re.Match[str]) -> None:
        """A task has come: who rests claims it."""
        if found["queue"] in self.queues:
            for child in self._children.ready:
                if child.sleeping:
                    child.pipe.nudge("wake", what=found[0])

    def _wake_all(self, found: re.Match[str]) -> None:
        """Tasks came back, older than what was claimed last: everybody has to look for them."""
        if found["queue"] in (*self.queues, ""):
            for child in self._children.ready:
                child.pipe.nudge("wake", what=found[0])

    def _tell_resting(self, *, listening: bool) -> None:
        for child in self._children.ready:
            if child.sleeping:
                child.pipe.send("rest", listening=listening)
