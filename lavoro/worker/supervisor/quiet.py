"""Has the children of a worker rest: they claim nothing, finish what runs, and stay."""

from __future__ import annotations

from lavoro.worker.pipe import Message
from lavoro.worker.supervisor.children import Children
from lavoro.worker.supervisor.process import ChildProcess


class Quiet:
    """The reasons for which the children rest; they claim while there is none.

    Each order to rest has a number, by which a child tells that it claims no more, and once nothing is in flight there.
    The main thread's alone.
    """

    def __init__(self, children: Children) -> None:
        self._children = children
        self._reasons: set[str] = set()
        self._number = 0
        self._at_rest: set[ChildProcess] = set()

    @property
    def order(self) -> int | None:
        """The number of the order that is in force, for a child that gets its lease; None: it may claim."""
        return self._number if self._reasons else None

    def asked_by(self, reason: str) -> bool:
        """Whether the children rest for a reason."""
        return reason in self._reasons

    def asked_by_others(self, reason: str) -> bool:
        """Whether they rest for any other reason."""
        return not self._reasons <= {reason}

    def begin(self, reason: str) -> None:
        """Have the children rest."""
        if reason not in self._reasons:
            self._reasons.add(reason)
            self.renew()

    def end(self, reason: str) -> None:
        """Have them claim again, unless there is another reason."""
        if reason in self._reasons:
            self._reasons.discard(reason)
            if not self._reasons:
                self._send()

    def renew(self) -> None:
        """Have the children tell anew that nothing is in flight; an answer to an earlier order counts no longer."""
        if self._reasons:
            self._number += 1
            self._at_rest = set()
            self._send()

    def told(self, child: ChildProcess, message: Message) -> bool:
        """Take in that a child claims no more; return whether that is by the order in force."""
        current: bool = message["order"] == self.order
        if current and message["done"]:
            self._at_rest.add(child)
        return current

    @property
    def complete(self) -> bool:
        """Whether nothing is in flight in any child, and none claims."""
        return bool(self._reasons) and self._at_rest.issuperset(self._children.present)

    def _send(self) -> None:
        for child in self._children.present:
            if child.worker_id is not None:  # before it, the order comes with the lease
                child.pipe.send("rest", order=self.order)
