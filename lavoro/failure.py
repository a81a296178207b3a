"""What went wrong in a task: the exception with its traceback as text."""

from __future__ import annotations

import traceback
from types import TracebackType

MAX_TRACEBACK = 100_000
"""Characters kept of a traceback; of a longer one, its end."""


def printable(text: str) -> str:
    """Return the text as PostgreSQL can store it: NUL and lone surrogates become escapes."""
    return text.replace("\x00", "\\x00").encode("utf-8", "backslashreplace").decode("utf-8")


def described(value: object) -> str:
    """Return the value's repr for people, whatever its ``__repr__`` does."""
    try:
        return repr(value)
    except Exception as error:
        return f"<{type(value).__name__}: repr() raised {type(error).__name__}>"


class ExceptionInfo:
    """An exception as Celery's handlers get it (``einfo``): ``exception``, ``type``, ``traceback`` (text), ``tb``."""

    def __init__(self, exception: BaseException) -> None:
        self.exception = exception
        self.type = type(exception)
        self.tb: TracebackType | None = exception.__traceback__
        self.traceback = printable("".join(traceback.format_exception(exception))[-MAX_TRACEBACK:])
        self.internal = False

    def __str__(self) -> str:
        return self.traceback

    def __repr__(self) -> str:
        return f"<ExceptionInfo: {described(self.exception)}>"
