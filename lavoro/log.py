"""Logging of the worker: for terminals, files or as JSON lines, where every record knows its task."""

from __future__ import annotations

import json
import logging
import os
import sys
import warnings
from collections.abc import Callable, Mapping
from datetime import datetime
from logging.handlers import WatchedFileHandler
from typing import Any, ClassVar, NamedTuple, TextIO

from lavoro import signals
from lavoro.execution.context import current
from lavoro.protocol.failure import traceback_of
from lavoro.text.printable import Lines, cut, described, plain, told

PLAIN = "[%(asctime)s: %(levelname)s/%(processName)s] %(message)s"
LONGEST = 100_000
"""Characters of a message, and of a traceback, by default."""
ARGUMENT = 10_000
"""Characters of each argument of Lavoro's own log lines."""
OURS = (
    "lavoro", "lavoro.task", "lavoro.worker", "lavoro.worker.received", "lavoro.beat", "lavoro.store",
    "lavoro.signals", "lavoro.events", "lavoro.evcam", "lavoro.redirected", "lavoro.user",
)  # fmt: skip
"""All loggers of Lavoro. Those of tasks are below ``lavoro.user``, so that those about tasks can be silenced alone."""
ABOUT_TASKS = {"lavoro.task", "lavoro.worker.received"}
"""Names of loggers whose lines name a task, and are not written inside of it."""


class _Own(logging.Logger):
    """A logger of Lavoro: arguments of its lines can neither begin another line nor move a terminal's cursor.

    ``logging.config`` disables loggers that a configuration does not name, but not this one. It can have a level.
    """

    @property
    def disabled(self) -> bool:
        return False

    @disabled.setter
    def disabled(self, value: bool) -> None: ...

    def isEnabledFor(self, level: int) -> bool:
        """Tell whether a line is shown; each task asks, so the cache of ``logging`` is read here, in one call."""
        enabled = self._cache.get(level)  # type: ignore[attr-defined]
        return super().isEnabledFor(level) if enabled is None else enabled

    def handle(self, record: logging.LogRecord) -> None:
        """Make a record harmless, whatever the handlers do with it, and pass it on to them."""
        if isinstance(record.args, tuple):
            record.args = tuple(map(_harmless, record.args))
        elif isinstance(record.args, Mapping):
            text = record.args.get("traceback")
            lines = {"traceback": Lines(text)} if isinstance(text, str) else {}
            record.args = _Named({name: _harmless(value) for name, value in {**record.args, **lines}.items()})
        if record.exc_info and record.exc_info[1] is not None:
            text = getattr(record, "traceback", None) or traceback_of(record.exc_info[1])
            record.exc_text = plain(text.rstrip("\n"), lines=True)
        if hasattr(record, "task_name"):
            record.task_id, record.task_name = _word(record.task_id), _word(record.task_name)  # type: ignore[attr-defined]
        super().handle(record)


class _Told:
    """An argument of a log line, written as one line, only if the line is shown."""

    def __init__(self, value: object) -> None:
        self._value = value

    def __str__(self) -> str:
        text = cut(told(self._value), ARGUMENT)
        if isinstance(self._value, BaseException):  # libpq's errors have several lines
            text = "; ".join(line.strip() for line in text.splitlines() if line.strip())
        return plain(text)

    def __repr__(self) -> str:
        return plain(described(self._value, ARGUMENT))


class _Named(dict[str, object]):
    """Arguments of a log line by name; as one argument, one line."""

    def __str__(self) -> str:
        return plain(described(dict(self), ARGUMENT))

    __repr__ = __str__


def _harmless(value: object) -> object:
    if value is None or isinstance(value, (int, float)):
        return value
    if isinstance(value, str):
        return plain(value, lines=True) if isinstance(value, Lines) else plain(cut(value, ARGUMENT))
    return _Told(value)


def _take_over(name: str) -> None:
    logger = logging.getLogger(name)
    logger.__class__ = type("Logger", (_Own, type(logger)), {})


for _name in OURS:
    _take_over(_name)

base_logger, worker_logger = logging.getLogger("lavoro"), logging.getLogger("lavoro.worker")
TASKS = task_logger = logging.getLogger("lavoro.user")
"""Parent of the loggers of tasks: a handler given to it gets what tasks log; in a worker the root's do not."""


FIELDS: dict[str, Callable[[], str | None]] = {}
"""More attributes of each record, and the functions that return their values; None is written as ``???``."""


class TaskFilter(logging.Filter):
    """Gives each record the id and name of the task that runs here: ``task_id``, ``task_name``, else ``???``.

    It also gives it what is in ``FIELDS``.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Add the attributes; every record passes."""
        _tell_task(record)
        return True


class ColorFormatter(logging.Formatter):
    """A formatter whose lines have the colour of their level.

    Control characters of a message become escapes, and a long one is cut.
    """

    colors: ClassVar[dict[str, str]] = {"DEBUG": "34", "WARNING": "33", "ERROR": "31", "CRITICAL": "35"}
    """The colours of a terminal, by level."""
    longest = LONGEST
    """Characters of a message, and of a traceback."""

    def __init__(self, fmt: str | None = None, use_color: bool = True, datefmt: str | None = None) -> None:
        super().__init__(fmt, datefmt)
        self.use_color = use_color

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        text, color = super().format(record), self.colors.get(record.levelname) if self.use_color else None
        return f"\x1b[1;{color}m{text}\x1b[0m" if color else text

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Return the line without a traceback."""
        record.message = plain(cut(record.message, self.longest), lines=True)
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:
        """Return the traceback."""
        return _traceback(ei, self.longest)


class TaskFormatter(ColorFormatter):
    """A formatter whose format may name ``%(task_id)s`` and ``%(task_name)s``, for handlers of one's own::

    handler.setFormatter(TaskFormatter("%(task_name)s[%(task_id)s] %(message)s", use_color=False))
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        _tell_task(record)
        return super().format(record)


class WorkerFormatter(ColorFormatter):
    """The worker's own: records that are written inside a task have a format and a form of time of their own."""

    inside: logging.Formatter | None = None

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        _tell_task(record)
        if self.inside is not None and record.task_id != "???" and record.name not in ABOUT_TASKS:  # type: ignore[attr-defined]
            return self.inside.format(record)
        return super().format(record)


def _traceback(info: Any, most: int) -> str:
    return plain(traceback_of(info[1], most).rstrip("\n"), lines=True) if info[1] is not None else "NoneType: None"


def _tell_task(record: logging.LogRecord) -> None:
    if not hasattr(record, "task_id"):
        request = current.get()
        record.task_id = _word((request and request.id) or "???")
        record.task_name = _word((request and request.owner) or "???")
    for name, read in FIELDS.items():
        if not hasattr(record, name):
            setattr(record, name, _word(read() or "???"))


def _word(name: object) -> str:
    """Return a task's name or id as harmless text: its sender has chosen it."""
    return plain(cut(told(name), 1000))


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, process, the task if one runs, ``exc_info`` if there is."""

    longest = LONGEST
    """Characters of a message, and of a traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created).astimezone().isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": plain(cut(record.getMessage(), self.longest), lines=True),
            "process": record.processName,
        }
        if getattr(record, "task_id", "???") != "???":
            line.update(task_id=record.task_id, task_name=record.task_name)  # type: ignore[attr-defined]
        line.update({name: value for name in FIELDS if (value := getattr(record, name, "???")) != "???"})
        if record.exc_info:
            line["exc_info"] = record.exc_text or _traceback(record.exc_info, self.longest)
        return json.dumps(line, default=str)


def get_task_logger(name: str) -> logging.Logger:
    """Return a logger for tasks; in the worker its records carry ``task_id`` and ``task_name``.

    The worker's handlers for tasks get its records, and those that a receiver of ``after_setup_task_logger`` adds::

        logger = get_task_logger(__name__)
    """
    logger = logging.getLogger(name)
    if logger in (TASKS, base_logger):
        raise RuntimeError(f"Logger name {name!r} is reserved!")
    above: logging.Logger | None = logger
    while above is not None and above is not TASKS:
        above = above.parent
    if above is None:  # Celery's rule: TASKS replaces any other parent
        logger.parent = TASKS
    return logger


def get_logger(name: str) -> logging.Logger:
    """Return a logger below Lavoro's own, for extensions: it has their level and handlers."""
    logger = logging.getLogger(name)
    if logger.parent is logging.root and logger is not base_logger:
        logger.parent = base_logger
    return logger


class Look(NamedTuple):
    """How the lines of the worker's log look."""

    style: str
    format: str
    datefmt: str | None
    task_format: str | None
    task_datefmt: str | None
    longest: int


def level_of(level: str | int) -> int:
    """Return the number of a level, given by its name or number; raises ValueError for an unknown name."""
    number = logging.getLevelName(level.upper()) if isinstance(level, str) else level
    if not isinstance(number, int):
        raise ValueError(f"{level!r} is not the name of a log level")
    return number


class _Early:
    """Keeps records and warnings from before the settings are known, while the application is imported.

    The root logger gets no handler, because ``logging.basicConfig`` would then do nothing: records without a handler
    are written by this one.
    """

    def __init__(self, handler: logging.Handler) -> None:
        self._handler, self._level = handler, logging.root.level
        self._last, logging.lastResort = logging.lastResort, handler
        self._show, warnings.showwarning = warnings.showwarning, self._warn
        self._ended = False
        logging.root.setLevel(handler.level)

    def _warn(
        self, message: Warning | str, category: type[Warning], filename: str, lineno: int, file: TextIO | None = None,
        line: str | None = None,
    ) -> None:  # fmt: skip
        if self._ended or file is not None:
            self._show(message, category, filename, lineno, file, line)
        else:
            text = warnings.formatwarning(message, category, filename, lineno, line)
            logging.getLogger("py.warnings").warning("%s", text)

    def end(self) -> None:
        """Take it all back, but what the application has set meanwhile."""
        self._ended, logging.lastResort = True, self._last
        if warnings.showwarning == self._warn:
            warnings.showwarning = self._show
        if logging.root.level == self._handler.level:
            logging.root.setLevel(self._level)
        self._handler.close()


_early: list[_Early] = []


def begin(level: str | int, *, logfile: str | None, style: str) -> None:
    """Write what is logged from now on like the lines of the worker's log, until ``setup`` has the settings.

    A handler that the application adds meanwhile goes first.
    """
    handler = _handler(logfile, _colorized(None, logfile), Look(style, PLAIN, None, None, None, LONGEST))
    handler.setLevel(level_of(level))
    _early.append(_Early(handler))


def setup(
    level: str | int = "WARNING",
    *,
    logfile: str | None = None,
    style: str = "text",
    format: str | None = None,
    datefmt: str | None = None,
    task_format: str | None = None,
    task_datefmt: str | None = None,
    colorize: bool | None = None,
    hijack_root: bool = True,
    longest: int = LONGEST,
) -> None:
    """Set the worker's logging up, unless a receiver of ``setup_logging`` has taken that over.

    ``style`` is ``text`` or ``json``; ``colorize`` None means: if it goes to a terminal. ``task_format`` is the format
    of what tasks log, ``format`` that of all else, and the two ``datefmt`` those of their times. With ``hijack_root``
    false the root logger keeps its own handlers, and gets the level. A message is cut after ``longest`` characters.
    Raises what a receiver of ``setup_logging`` raises: without it there would be no log.
    """
    while _early:
        _early.pop().end()
    number, format, colorize = level_of(level), format or PLAIN, _colorized(colorize, logfile)
    facts = {"loglevel": number, "logfile": logfile, "format": format, "colorize": colorize}
    if answers := signals.setup_logging.send(None, **facts):
        for _, answer in answers:
            if isinstance(answer, Exception):
                raise answer
        return
    root, look = logging.getLogger(), Look(style, format, datefmt, task_format, task_datefmt, longest)
    if hijack_root:
        TASKS.handlers[:] = []
    if hijack_root or not root.handlers:
        root.handlers[:] = [_handler(logfile, colorize, look)]
    root.setLevel(number)
    logging.captureWarnings(True)  # else they are lines without a time, and not in the file
    signals.after_setup_logger.send(None, logger=root, **facts)
    setup_tasks(number, look, logfile=logfile, colorize=colorize)


def setup_tasks(
    level: str | int, look: Look, *, logfile: str | None = None, colorize: bool | None = None, propagate: bool = False
) -> logging.Logger:
    """Set the parent of the loggers of tasks up: its level, and a handler if it has none.

    Without ``propagate`` the root logger's handlers do not get what tasks log: a handler that is given to both loggers
    writes it once.
    """
    number, format, colorize = level_of(level), look.task_format or look.format, _colorized(colorize, logfile)
    if not TASKS.handlers:
        datefmt = look.task_datefmt if look.task_format else look.datefmt
        TASKS.addHandler(_handler(logfile, colorize, look._replace(format=format, datefmt=datefmt, task_format=None)))
    TASKS.setLevel(number)
    TASKS.propagate = propagate
    facts = {"loglevel": number, "logfile": logfile, "format": format, "colorize": colorize}
    signals.after_setup_task_logger.send(None, logger=TASKS, **facts)
    return TASKS


def _colorized(wanted: bool | None, logfile: str | None) -> bool:
    """Tell whether lines have colours; never in a file, and without a wish at a terminal."""
    if logfile is not None:
        return False
    return sys.stderr.isatty() and not os.environ.get("NO_COLOR") if wanted is None else wanted


def _handler(logfile: str | None, colorize: bool, look: Look) -> logging.Handler:
    handler: logging.Handler = logging.StreamHandler()
    if logfile is not None:
        # Before each line it checks whether logrotate has moved the file away, and makes a new one.
        handler = WatchedFileHandler(logfile, encoding="utf-8", errors="backslashreplace")
    handler.setFormatter(_formatter(colorize, look))
    handler.addFilter(TaskFilter())
    return handler


def _formatter(colorize: bool, look: Look) -> logging.Formatter:
    if look.style == "json":
        lines = JsonFormatter()
        lines.longest = look.longest
        return lines
    formatter = WorkerFormatter(look.format, colorize, look.datefmt)
    if look.task_format:
        formatter.inside = inside = TaskFormatter(look.task_format, colorize, look.task_datefmt)
        inside.longest = look.longest
    formatter.longest = look.longest
    return formatter
