"""The file in which every no-op task records that it started, eight bytes a start."""

from __future__ import annotations

import os
import struct
import tempfile
import time
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

VARIABLE = "BENCHMARKS_HITS"
_file = os.open(os.environ.get(VARIABLE, os.devnull), os.O_WRONLY | os.O_APPEND | os.O_CREAT)


def mark(value: float) -> None:
    """Append a number; one write, so that processes can share the file."""
    os.write(_file, struct.pack("d", value))


def record(sent: float) -> None:
    """Append the seconds since ``sent``, a ``time.time()``; since the epoch if that is 0."""
    mark(time.time() - sent)


class Hits:
    """Reads the file while others append to it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to know to record here."""
        return {VARIABLE: str(self.path)}

    def count(self) -> int:
        """Count the starts so far."""
        return self.path.stat().st_size // 8

    def values(self, skip: int = 0) -> list[float]:
        """Return what was recorded, in order of start, without the first ``skip``."""
        return array("d", self.path.read_bytes()).tolist()[skip:]


@contextmanager
def new_hits() -> Iterator[Hits]:
    """Make an empty file for the length of a measurement."""
    with tempfile.TemporaryDirectory(prefix="lavoro-benchmarks-") as folder:
        path = Path(folder) / "hits"
        path.touch()
        yield Hits(path)
