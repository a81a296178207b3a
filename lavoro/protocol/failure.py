"""The failure of a task: its exception, with the traceback as text."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from itertools import islice
from types import TracebackType

from lavoro.exceptions import Retry
from lavoro.text.printable import arguments, cut, described, heavy, told

MOST = 100_000
"""Characters kept of a traceback by default."""
LINKS = 100
"""Exceptions shown of a chain of causes: the last ones."""


def printable(text: str) -> str:
    """Return the text as PostgreSQL can store it: NUL and lone surrogates become escapes."""
    return text.replace("\x00", "\\x00").encode("utf-8", "backslashreplace").decode("utf-8")


def traceback_of(exception: BaseException, most: int = MOST) -> str:
    """Return the traceback as text of about ``most`` characters at the most: the end, where the exception stands."""
    # A quarter for each piece: a message of any length leaves room for the lines that led to it.
    pieces = [cut(piece, most // 4) for piece in _told(exception, most)]
    text = "".join(pieces)
    if len(text) > most:
        text = f"... (cut: {len(text) - most} characters before this)\n{text[-most:]}"
    return printable(text)


def _told(exception: BaseException, most: int) -> Iterator[str]:
    links = list(islice(chain(exception), LINKS + 1))
    if len(links) <= LINKS and not any(heavy(arguments(error), most) for error in links):
        yield from traceback.format_exception(exception)
        return
    if len(links) > LINKS:
        yield f"... (cut: what came before the last {LINKS} exceptions)\n\n"
    for error in reversed(links[:LINKS]):
        yield from _told_alone(error, most)
        if error is not exception:
            yield "\nThat led to the following exception:\n\n"


def _told_alone(error: BaseException, most: int) -> Iterator[str]:
    """Format an exception without its causes, up to the kept length: ``traceback``'s own classes read all frames."""
    if error.__traceback__ is not None:
        yield "Traceback (most recent call last):\n"
        yield from traceback.format_tb(error.__traceback__)
    cls = type(error)
    name = cls.__qualname__ if cls.__module__ in ("builtins", "__main__") else f"{cls.__module__}.{cls.__qualname__}"
    yield f"{name}: {cut(told(error, most), most // 5)}\n"


def chain(exception: BaseException) -> Iterator[BaseException]:
    """Yield an exception and its causes, as a traceback shows them."""
    error: BaseException | None = exception
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def release(exception: BaseException) -> None:
    """Clear the variables of all frames that an exception, its causes and the members of its group came through.

    Exceptions and frames refer to each other, so the variables would stay in memory until Python's collector runs.
    """
    left, seen = [exception], set[int]()
    while left:
        error = left.pop()
        if id(error) in seen:
            continue
        seen.add(id(error))
        traceback.clear_frames(error.__traceback__)
        members = getattr(error, "exceptions", ())
        found = [error.__cause__, error.__context__, *(members if isinstance(members, (list, tuple)) else ())]
        if isinstance(error, Retry):
            found.append(error.exc)
        left.extend(other for other in found if isinstance(other, BaseException))


class ExceptionInfo:
    """An exception as Celery's handlers get it (``einfo``): ``exception``, ``type``, ``traceback`` (text), ``tb``."""

    def __init__(self, exception: BaseException, most: int = MOST) -> None:
        self.exception = exception
        self.type = type(exception)
        self.tb: TracebackType | None = exception.__traceback__
        self.traceback = traceback_of(exception, most)
        self.internal = False

    def __str__(self) -> str:
        return self.traceback

    def __repr__(self) -> str:
        return f"<ExceptionInfo: {described(self.exception)}>"
