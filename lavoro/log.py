"""Logging of the worker: for terminals, files or as JSON lines, where every record knows its task."""

from __future__ import annotations

import json
import logging
import sys
import threading
from importlib import import_module
from typing import IO, Any

from lavoro import signals
from lavoro.context import current

PLAIN = "[%(asctime)s: %(levelname)s/%(processName)s] %(message)s"
TASKS = logging.getLogger("lavoro.task")
"""Parent of the loggers of tasks: a handler given to it gets what tasks log."""


class TaskFilter(logging.Filter):
    """Gives each record the id and name of the task that runs here: ``task_id``, ``task_name``, else ``???``."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Add the attributes; every record passes."""
        _tell_task(record)
        return True


class TaskFormatter(logging.Formatter):
    """A formatter whose format may name ``%(task_id)s`` and ``%(task_name)s``, for handlers of one's own.

    ``use_color`` is accepted for Celery's sake. ``task_format`` is for records that are written inside a task::

        handler.setFormatter(TaskFormatter("%(task_name)s[%(task_id)s] %(message)s"))
    """

    def __init__(self, fmt: str | None = None, use_color: bool = True, *, task_format: str | None = None) -> None:
        super().__init__(fmt)
        self._inside = logging.Formatter(task_format) if task_format else None

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        _tell_task(record)
        if self._inside is not None and record.task_id != "???" and record.name != TASKS.name:  # type: ignore[attr-defined]
            return self._inside.format(record)
        return super().format(record)


def _tell_task(record: logging.LogRecord) -> None:
    if not hasattr(record, "task_id"):
        request = current.get()
        record.task_id = (request and request.id) or "???"
        record.task_name = (request and request.task) or "???"


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
    """Return a logger for tasks; in the worker its records carry ``task_id`` and ``task_name``.

    Handlers that a receiver of ``after_setup_task_logger`` adds get its records, too::

        logger = get_task_logger(__name__)
    """
    logger = logging.getLogger(name)
    if logger.parent is logging.root and logger is not TASKS:
        logger.parent = TASKS
    return logger


def setup(
    level: str | int = "WARNING",
    *,
    logfile: str | None = None,
    style: str = "text",
    format: str | None = None,
    task_format: str | None = None,
    colorize: bool | None = None,
    hijack_root: bool = True,
) -> None:
    """Set the worker's logging up, unless a receiver of ``setup_logging`` has taken that over.

    ``style`` is ``text`` or ``json``; ``colorize`` None means: if it goes to a terminal. ``task_format`` is the format
    of what tasks log, ``format`` that of all else. With ``hijack_root`` false the root logger's own handlers stay.
    """
    level = level.upper() if isinstance(level, str) else level
    facts = {"loglevel": level, "logfile": logfile, "format": format, "colorize": colorize}
    if signals.setup_logging.send(None, **facts):
        return
    root = logging.getLogger()
    if hijack_root or not root.handlers:
        root.handlers[:] = [_handler(logfile, style, TaskFormatter(format or PLAIN, task_format=task_format), colorize)]
        root.setLevel(level)
    signals.after_setup_logger.send(None, logger=root, **facts)
    signals.after_setup_task_logger.send(None, logger=TASKS, **facts)


def _handler(logfile: str | None, style: str, formatter: logging.Formatter, colorize: bool | None) -> logging.Handler:
    handler: logging.Handler
    if logfile:
        handler = logging.FileHandler(logfile, encoding="utf-8")
    elif style == "text" and (sys.stderr.isatty() if colorize is None else colorize):
        # Only here: 42 modules and 3 MB that a web application, or a worker without a terminal, has no use for.
        handler = import_module("lavoro.terminal").handler()
        formatter = logging.Formatter("%(message)s")
    else:
        handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if style == "json" else formatter)
    handler.addFilter(TaskFilter())
    return handler


class StreamToLog:
    """A text stream whose lines become log records: where the prints of tasks go."""

    encoding = "utf-8"

    def __init__(self, logger: logging.Logger, level: int, original: IO[str]) -> None:
        self._logger, self._level, self._original = logger, level, original
        self._here = threading.local()

    def write(self, text: str) -> int:
        """Log each line that is complete; while a handler itself prints, write through."""
        here = self._here.__dict__
        if here.get("busy"):
            return self._original.write(text)
        *lines, here["rest"] = (here.get("rest", "") + text).split("\n")
        here["busy"] = True
        try:
            for line in lines:
                if line.strip():
                    self._logger.log(self._level, "%s", line)
        finally:
            here["busy"] = False
        return len(text)

    def flush(self) -> None:
        """What is no complete line yet stays."""

    def isatty(self) -> bool:
        """It is no terminal."""
        return False

    def fileno(self) -> int:
        """The descriptor of the stream it replaced."""
        return self._original.fileno()


def redirect_stdouts(level: str = "WARNING") -> None:
    """Send what tasks print to the log."""
    logger, number = logging.getLogger("lavoro.redirected"), logging.getLevelName(level)
    sys.stdout = StreamToLog(logger, number, sys.__stdout__ or sys.stdout)
