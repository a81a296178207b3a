"""The ledger: what producers, tasks and nemeses have witnessed, in files that the system under test never touches."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple


class Entry(NamedTuple):
    """One line: when it was written, by which process, and what it says."""

    kind: str
    wall: float
    mono: float
    """Of the system-wide monotonic clock: comparable between the processes of one machine."""
    pid: int
    id: str | None
    """Of a task."""
    token: str | None
    """Of one start of a task, made by its body."""
    attempt: int | None
    detail: dict[str, Any]

    def __getitem__(self, name: Any) -> Any:
        return self.detail[name] if isinstance(name, str) else tuple.__getitem__(self, name)


class Ledger:
    """One file per process, opened to append: a line is there when the call returns, whatever happens to the process.

    With ``sync`` it also outlives the machine; without, it outlives everything the nemeses do.
    """

    def __init__(self, folder: Path, role: str, *, sync: bool = True) -> None:
        self.folder, self._role, self._sync = folder, role, sync
        self._pid = self._descriptor = -1

    def write(
        self, kind: str, *, id: str | None = None, token: str | None = None, attempt: int | None = None, **detail: Any
    ) -> Entry:
        """Add an entry, and return it."""
        # Not time.time(): the rig may have put that clock wrong in this process.
        wall, mono = time.clock_gettime(time.CLOCK_REALTIME), time.clock_gettime(time.CLOCK_MONOTONIC)
        entry = Entry(kind, wall, mono, os.getpid(), id, token, attempt, detail)
        line = json.dumps(tuple(entry), separators=(",", ":"), default=str).encode() + b"\n"
        os.write(self._file(), line)
        if self._sync:
            os.fdatasync(self._descriptor)
        return entry

    def _file(self) -> int:
        if self._pid != os.getpid():  # a fork has a file of its own
            path = self.folder / f"{self._role}-{os.getpid()}.jsonl"
            self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
            self._pid = os.getpid()  # last: another thread takes the descriptor as soon as it sees this
        return self._descriptor


class Reader:
    """Reads a folder of ledgers, each time what has come since the last."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._offsets: dict[Path, int] = {}

    def read(self) -> list[Entry]:
        """The new entries, in the order of the monotonic clock."""
        return sorted((entry for path in self._folder.glob("*.jsonl") for entry in self._new(path)), key=_mono)

    def forget(self) -> None:
        """Empty the files of what was read: a soak would fill the disk. Whoever appends to them goes on."""
        for path, read in self._offsets.items():
            if path.stat().st_size == read:
                os.truncate(path, 0)
                self._offsets[path] = 0

    def _new(self, path: Path) -> Iterator[Entry]:
        offset = self._offsets.get(path, 0)
        with path.open("rb") as file:
            file.seek(offset)
            text = file.read()
        whole = text[: text.rfind(b"\n") + 1]  # the last line may be on its way
        self._offsets[path] = offset + len(whole)
        for line in whole.splitlines():
            yield Entry(*json.loads(line))


def _mono(entry: Entry) -> float:
    return entry.mono


def read(folder: Path) -> list[Entry]:
    """Everything in a folder of ledgers."""
    return Reader(folder).read()


def sha(value: object) -> str:
    """A fingerprint of what JSON can carry."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
