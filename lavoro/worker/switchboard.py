"""The switchboard: passes on to the children what the database says, and has it said only while somebody rests."""

from __future__ import annotations

import re
from collections.abc import Callable

from lavoro.store.database import Database
from lavoro.store.listener import Listener
from lavoro.worker.children import Children
from lavoro.worker.process import ChildProcess

_LEASE = re.compile(r"l(\d{1,9}(?:\.\d{1,9})?)")
_WAKE = re.compile(r"[+~]-?\d+:(?P<lane>.*)|!(?P<back>.*)", re.DOTALL)


class Switchboard:
    """One listening connection for all children.

    ``renew`` is called when some task of theirs is to be cancelled, or that may have been missed; ``foretell`` when
    the lease of some node begins, or gets short: in how many seconds it may end.
    """

    def __init__(
        self,
        database: Database,
        children: Children,
        *,
        renew: Callable[[], object],
        foretell: Callable[[float], object],
    ) -> None:
        self._children, self._renew, self._foretell = children, renew, foretell
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
            self._renew()
        if payload is not None and payload.startswith("x"):
            if payload[1:].partition(":")[0] in {str(child.worker_id) for child in self._children.ready}:
                self._renew()
            return
        if lease := _LEASE.fullmatch(payload or ""):
            self._foretell(float(lease[1]))
            return
        found = _WAKE.fullmatch(payload or "!")
        if found is None:
            return  # nobody of ours has sent that
        queue, back = found["lane"], found["back"]
        if (queue if back is None else back) in (*self.queues, ""):
            for child in self._children.ready:
                if child.resting or back is not None:
                    child.pipe.nudge("wake", what=found[0])

    def _tell_resting(self, *, listening: bool) -> None:
        for child in self._children.ready:
            if child.resting:
                child.pipe.send("rest", listening=listening)
