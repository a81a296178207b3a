"""Writes the prints of tasks into the log, line by line."""

from __future__ import annotations

import codecs
import io
import logging
import sys
import threading
from typing import IO, Any

LONGEST = 10_000
"""Characters after which text without a line break is logged as a line."""

unfinished: set[int] = set()
"""The identities of lines that have been printed in part."""


class _Line:
    """The unfinished line of a thread (greenlet); it ends with the thread."""

    __slots__ = ("busy", "text")

    def __init__(self) -> None:
        self.text, self.busy = "", False

    def keep(self, text: str) -> None:
        self.text = text
        (unfinished.add if text else unfinished.discard)(id(self))

    def __del__(self) -> None:
        unfinished.discard(id(self))


class StreamToLog(io.TextIOBase):
    """A text stream whose lines become log records; each thread (greenlet) has an unfinished line of its own."""

    def __init__(self, logger: logging.Logger, level: int, original: IO[str]) -> None:
        self._logger, self._level, self._original = logger, level, original
        self._here = threading.local()
        self.buffer = _Bytes(self)

    def write(self, text: str, /) -> int:
        """Log each line that is complete; while a handler itself prints, write through."""
        line = self._line()
        if line.busy:
            return self._original.write(text)
        *lines, rest = (line.text + text).split("\n")
        if len(rest) > LONGEST:
            lines, rest = [*lines, rest], ""
        line.keep(rest)
        self._log(line, lines)
        return len(text)

    def end_line(self) -> None:
        """Log the unfinished line of this thread."""
        line = self._line()
        rest = line.text
        line.keep("")
        self._log(line, [rest])

    def _line(self) -> _Line:
        line: _Line | None = self._here.__dict__.get("line")
        if line is None:
            line = self._here.line = _Line()
        return line

    def _log(self, line: _Line, texts: list[str]) -> None:
        line.busy = True
        try:
            for text in texts:
                if text.strip():
                    self._logger.log(self._level, "%s", text.rstrip("\r"))
        finally:
            line.busy = False

    def flush(self) -> None:
        """Keep an unfinished line until the task ends."""

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
        """The encoding in which bytes are read."""
        return "utf-8"

    @property
    def errors(self) -> str:  # type: ignore[override]
        """The way in which bytes that are no text are read."""
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
    """Send the prints of tasks, to standard output and to standard error, to the log.

    The log's own handlers keep the stream that they were made with.
    """
    number = logging.getLevelName(level.upper()) if isinstance(level, str) else level
    logger = logging.getLogger("lavoro.redirected")
    sys.stdout = StreamToLog(logger, number, sys.__stdout__ or sys.stdout)
    sys.stderr = StreamToLog(logger, number, sys.__stderr__ or sys.stderr)


def end_line() -> None:
    """Log the unfinished lines of the task that ends here."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, StreamToLog):
            stream.end_line()
