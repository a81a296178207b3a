"""Shared memory that shows the supervisor the tasks that run in a child, even after the child was killed."""

from __future__ import annotations

import itertools
import mmap
import os
import struct
import tempfile
import time
import uuid
from typing import NamedTuple

_HEADER = struct.Struct("=dd")
"""When the child's loop last turned, and until when its lease is certain (monotonic, in seconds)."""
_TICKED, _TRUSTED = struct.Struct("=d"), struct.Struct("=d")
_SLOT = struct.Struct("=B16sd")
"""Whether a task runs in the slot, its id, and when its hard limit passes (monotonic, infinity for none)."""
_TASK = struct.Struct("=16sd")
_ID = 16
ENDED = 4096
"""Number of ids kept of the tasks that ended last. At the usual prefetch, fewer tasks can end once storing has become
impossible. Writing one takes 0.1 us."""
_RING, _SLOTS = _HEADER.size, _HEADER.size + ENDED * _ID
"""Where the ring and the slots begin; the slots are last, as their number may grow."""
FENCE_MARGIN = 0.1
"""The part of a lease that is left when a child ends itself; its supervisor ends it earlier."""


SLOT_FUNCTION = "lavoro_slot_"
"""With a slot's number, the name of the function in which it runs its tasks: stack dumps show only names."""


class Entry(NamedTuple):
    """A task that has begun and not ended."""

    slot: int
    id: uuid.UUID
    deadline: float


class Scoreboard:
    """A few bytes for each slot, shared between a child, which writes, and its supervisor, which reads.

    Because the kernel keeps the memory when the child is killed, the supervisor knows which tasks had begun and which
    were only claimed. The monotonic clock is the same for all processes of a machine.
    """

    def __init__(self, descriptor: int, slots: int) -> None:
        self.slots = slots
        """The slots of the child; as many more as it has had may still have a task to end."""
        self._descriptor, self._room = descriptor, slots
        self._memory = mmap.mmap(descriptor, self.size(slots))
        self._ends = itertools.count()

    @staticmethod
    def size(slots: int) -> int:
        """The size in bytes of a scoreboard with so many slots."""
        return _SLOTS + slots * _SLOT.size

    def resize(self, slots: int) -> None:
        """Show so many slots from now on; the memory only grows, and each side maps it anew."""
        if slots > self._room:
            if os.fstat(self._descriptor).st_size < self.size(slots):
                os.ftruncate(self._descriptor, self.size(slots))
            self._memory, self._room = mmap.mmap(self._descriptor, self.size(slots)), slots
        self.slots = slots

    # The child writes

    def tick(self) -> None:
        """Say that the child's loop turns."""
        _TICKED.pack_into(self._memory, 0, time.monotonic())

    def begin(self, slot: int, id: bytes, deadline: float) -> None:
        """Say that a task begins in a slot."""
        place = _SLOTS + slot * _SLOT.size
        _TASK.pack_into(self._memory, place + 1, id, deadline)
        self._memory[place] = 1  # last: a reader that sees it must not read the deadline of the task before

    def end(self, slot: int, id: bytes) -> None:
        """Say that the task has ended and the slot is free."""
        place = _RING + next(self._ends) % ENDED * _ID
        self._memory[place : place + _ID] = id  # first: at any moment it is in one of the two
        self._memory[_SLOTS + slot * _SLOT.size] = 0

    def disown(self) -> None:
        """In a forked process, write to private memory from now on."""
        self._memory = mmap.mmap(-1, self.size(self._room))

    @property
    def trusted_until(self) -> float:
        """Until when (monotonic) no other node can have taken this child's tasks."""
        return float(_TRUSTED.unpack_from(self._memory, _TICKED.size)[0])

    # The supervisor writes

    def trust(self, until: float) -> None:
        """Say until when the lease is certain."""
        _TRUSTED.pack_into(self._memory, _TICKED.size, until)

    @property
    def ticked(self) -> float:
        """When the child's loop last turned; 0 before its first turn."""
        return float(_TICKED.unpack_from(self._memory, 0)[0])

    def entries(self) -> list[Entry]:
        """List the running tasks."""
        found = []
        for slot in range(self._room):
            busy, id, deadline = _SLOT.unpack_from(self._memory, _SLOTS + slot * _SLOT.size)
            if busy:
                found.append(Entry(slot, uuid.UUID(bytes=id), deadline))
        return found

    def ended(self) -> list[uuid.UUID]:
        """List the tasks that ended last, in no order; if the worker still holds one, its outcome was not stored."""
        ids = self._memory[_RING:_SLOTS]
        return [uuid.UUID(bytes=ids[at : at + _ID]) for at in range(0, len(ids), _ID) if any(ids[at : at + _ID])]

    def overdue(self) -> Entry | None:
        """Return a task that is past its hard limit."""
        now = time.monotonic()
        late = [entry for entry in self.entries() if entry.deadline < now]
        # Read twice: an entry that was being written at the first read differs at the second.
        return next((entry for entry in late if entry in self.entries()), None) if late else None

    def close(self) -> None:
        """Unmap the memory."""
        self._memory.close()


def unnamed_file() -> int:
    """Return a descriptor of a file without a name, in memory where the system can, which a child can inherit."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("lavoro")
    with tempfile.TemporaryFile(prefix="lavoro-") as file:  # macOS
        return os.dup(file.fileno())
