"""Logging of the worker: readable on a terminal, plain in a file, JSON lines on request; every record knows its task."""

from __future__ import annotations

import json
import logging
import sys
from typing import IO, Any

from rich.console import Console
from rich.logging import RichHandler

from lavoro import signals
from lavoro.context import current

PLAIN = "[%(asctime)s: %(levelname)s/%(processName)s] %(message)s"


class TaskFilter(logging.Filter):
    """Gives each record the id and name of the task that runs here: ``task_id``, ``task_name``, else ``???``."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Add the attributes; every record passes."""
        request = current.get()
        if not hasattr(record, "task_id"):
            record.task_id = (request and request.id) or "???"
            record.task_name = (request and request.task) or "???"
        return True


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, process, and the task if one runs."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, Any] = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S") + f".{int(record.msecs):03}",
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "process": record.processName,
        }
        if getattr(record, "task_id", "???") != "???":
            line.update(task_id=record.task_id, task_name=record.task_name)  # type: ignore[attr-defined]
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def get_task_logger(name: str) -> logging.Logger:
    """Return a logger for tasks; in the worker its records carry ``task_id`` and ``task_name``."""
    return logging.getLogger(name)


def setup(
    level: str | int = "WARNING",
    *,
    logfile: str | None = None,
    style: str = "text",
    format: str | None = None,
    colorize: bool | None = None,
    hijack_root: bool = True,
) -> None:
    """Set the worker's logging up, unless a receiver of ``setup_logging`` has taken that over.

    ``style`` is ``text`` or ``json``; ``colorize`` None means: if it goes to a terminal. With ``hijack_root`` false the
    root logger's own handlers stay.
    """
    level = level.upper() if isinstance(level, str) else level
    facts = {"loglevel": level, "logfile": logfile, "format": format, "colorize": colorize}
    if signals.setup_logging.send(None, **facts):
        return
    root = logging.getLogger()
    if hijack_root or not root.handlers:
        root.handlers[:] = [_handler(logfile, style, format or PLAIN, colorize)]
        root.setLevel(level)
    signals.after_setup_logger.send(None, logger=root, **facts)
    signals.after_setup_task_logger.send(None, logger=logging.getLogger("lavoro.task"), **facts)


def _handler(logfile: str | None, style: str, format: str, colorize: bool | None) -> logging.Handler:
    handler: logging.Handler
    if logfile:
        handler = logging.FileHandler(logfile, encoding="utf-8")
    elif style == "text" and (sys.stderr.isatty() if colorize is None else colorize):
        handler = RichHandler(console=Console(stderr=True), show_path=False, rich_tracebacks=False, log_time_format="%X")
        format = "%(message)s"
    else:
        handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if style == "json" else logging.Formatter(format))
    handler.addFilter(TaskFilter())
    return handler


class StreamToLog:
    """A text stream whose lines become log records: where the prints of tasks go."""

    encoding = "utf-8"

    def __init__(self, logger: logging.Logger, level: int, original: IO[str]) -> None:
        self._logger, self._level, self._original = logger, level, original
        self._inside = False

    def write(self, text: str) -> int:
        """Log the lines of a text; while a handler itself prints, write through."""
        if self._inside:
            return self._original.write(text)
        self._inside = True
        try:
            for line in text.splitlines():
                if line.strip():
                    self._logger.log(self._level, "%s", line)
        finally:
            self._inside = False
        return len(text)

    def flush(self) -> None:
        """Nothing is held back."""

    def isatty(self) -> bool:
        """It is no terminal."""
        return False

    def fileno(self) -> int:
        """The descriptor of the stream it replaced."""
        return self._original.fileno()


def redirect_stdouts(level: str = "WARNING") -> None:
    """Send what tasks print to the log."""
    logger, number = logging.getLogger("lavoro.redirected"), logging.getLevelName(level)
    sys.stdout = StreamToLog(logger, number, sys.__stdout__ or sys.stdout)  # type: ignore[assignment]
