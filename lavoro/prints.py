"""What tasks print, as lines of the log."""

from __future__ import annotations

import codecs
import io
import logging
import sys
import threading
from typing import IO, Any

LONGEST = 10_000
"""Characters without an end of line that are a line all the same."""

unfinished: set[int] = set()
"""The threads (greenlets) that have printed a part of a line."""


class StreamToLog(io.TextIOBase):
    """A text stream whose lines become log records; of each thread (greenlet) its own."""

    def __init__(self, logger: logging.Logger, level: int, original: IO[str]) -> None:
        self._logger, self._level, self._original = logger, level, original
        self._here = threading.local()
        self.buffer = _Bytes(self)

    def write(self, text: str, /) -> int:
        """Log each line that is complete; while a handler itself prints, write through."""
        here = self._here.__dict__
        if here.get("busy"):
            return self._original.write(text)
        *lines, rest = (here.get("rest", "") + text).split("\n")
        if len(rest) > LONGEST:
            lines, rest = [*lines, rest], ""
        self._keep(rest)
        self._log(lines)
        return len(text)

    def end_line(self) -> None:
        """Log what this thread has printed since its last end of a line."""
        rest = self._here.__dict__.get("rest", "")
        self._keep("")
        self._log([rest])

    def _keep(self, rest: str) -> None:
        self._here.__dict__["rest"] = rest
        (unfinished.add if rest else unfinished.discard)(threading.get_ident())

    def _log(self, lines: list[str]) -> None:
        here = self._here.__dict__
        here["busy"] = True
        try:
            for line in lines:
                if line.strip():
                    self._logger.log(self._level, "%s", line.rstrip("\r"))
        finally:
            here["busy"] = False

    def flush(self) -> None:
        """What is no complete line yet stays, until the task ends."""

    def close(self) -> None:
        """Stay open: the process has no other stream to print to."""

    def writable(self) -> bool:
        """It can be written to."""
        return True

    def fileno(self) -> int:
        """The descriptor of the stream it replaced."""
        return self._original.fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """What its bytes are read as."""
        return "utf-8"

    @property
    def errors(self) -> str:  # type: ignore[override]
        """What becomes of bytes that are no text."""
        return "replace"


class _Bytes(io.BufferedIOBase):
    """The same stream for bytes, such as ``sys.stdout.buffer``; a character may come in parts."""

    def __init__(self, stream: StreamToLog) -> None:
        self.raw = stream
        self._here = threading.local()

    def write(self, data: Any, /) -> int:
        """Write them as text."""
        here = self._here.__dict__
        if "decode" not in here:
            here["decode"] = codecs.getincrementaldecoder("utf-8")("replace").decode
        self.raw.write(here["decode"](bytes(data)))
        return memoryview(data).nbytes

    def writable(self) -> bool:
        """It can be written to."""
        return True

    def close(self) -> None:
        """Stay open, as the stream does."""

    def fileno(self) -> int:
        """The descriptor of the stream it replaced."""
        return self.raw.fileno()


def redirect_stdouts(level: str | int = "WARNING") -> None:
    """Send what tasks print to the log."""
    number = logging.getLevelName(level.upper()) if isinstance(level, str) else level
    sys.stdout = StreamToLog(logging.getLogger("lavoro.redirected"), number, sys.__stdout__ or sys.stdout)


def end_line() -> None:
    """Log what the task that ends here has printed without an end of line."""
    if isinstance(sys.stdout, StreamToLog):
        sys.stdout.end_line()
