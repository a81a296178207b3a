"""The switchboard: passes on to the children what the database says, and has it said only while somebody rests."""

from __future__ import annotations

import re
from collections.abc import Callable

from lavoro.store.database import Database
from lavoro.store.listener import Listener
from lavoro.worker.children import Children
from lavoro.worker.process import ChildProcess

_HANDED = re.compile(r">(?P<worker>\d+):(?P<id>[0-9a-f-]{36})")
_WAKE = re.compile(r"[+~]-?\d+:(?P<lane>.*)|!(?P<back>.*)", re.DOTALL)


class Switchboard:
    """One listening connection for all children; ``cancelled`` is called when some task of theirs is to be."""

    def __init__(self, database: Database, children: Children, *, cancelled: Callable[[], object]) -> None:
        self._children, self._cancelled = children, cancelled
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
        resting = any(child.resting for child in self._children.ready)
        self._listener.want([f"queue:{queue}" for queue in self.queues] if resting else [])

    def rest(self, child: ChildProcess, *, resting: bool) -> None:
        """A child rests from now on, or no longer."""
        child.resting = resting
        self.update()
        if resting:  # Until the lock is held a task may come unannounced: the child looks once more after this.
            self._listener.when_heard(lambda: child.pipe.send("rest", listening=True))

    def _heard(self, payload: str | None) -> None:
        """Pass a notification on to who can use it, in the listener's thread; None: some may have been missed."""
        if payload is None:
            self._tell_resting(listening=True)
        if handed := _HANDED.fullmatch(payload or ""):
            self._hand(int(handed["worker"]), handed["id"])
            return
        if payload is not None and payload.startswith("x"):
            if payload[1:].partition(":")[0] in {str(child.worker_id) for child in self._children.ready}:
                self._cancelled()
            return
        found = _WAKE.fullmatch(payload or "!")
        if found is None:
            return  # nobody of ours has sent that
        queue, back = found["lane"], found["back"]
        if (queue if back is None else back) in (*self.queues, ""):
            for child in self._children.ready:
                if child.resting or back is not None:
                    child.pipe.nudge("wake", what=found[0])

    def _hand(self, worker_id: int, id: str) -> None:
        for child in self._children.ready:
            if child.worker_id == worker_id:
                child.pipe.send("hand", id=id)

    def _tell_resting(self, *, listening: bool) -> None:
        for child in self._children.ready:
            if child.resting:
                child.pipe.send("rest", listening=listening)
