"""Writes an exception of an application's code in one line, with the place where it was raised."""

from __future__ import annotations

import traceback
from typing import Any

from lavoro.text.printable import cut, plain

MOST = 2000
"""Most characters of the exception's own words."""


def failure(error: BaseException, folders: tuple[str, ...] = ()) -> str:
    """Write the type and the words of an exception, and its place: the last line of code in these folders, if any."""
    what = cut(plain(traceback.format_exception_only(error)[-1].strip()), MOST)
    return f"{what} ({_place(error, folders)})"


def _place(error: BaseException, folders: tuple[str, ...]) -> str:
    if isinstance(error, SyntaxError):
        return f"{error.filename}, line {error.lineno}"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith("<")]
    own = [frame for frame in frames if frame.filename.startswith(folders)] if folders else []
    last = (own or frames)[-1]
    return f"{last.filename}, line {last.lineno}"


def shown(function: Any) -> str:
    """Return the full name of a function."""
    while not hasattr(function, "__qualname__") and hasattr(function, "func"):
        function = function.func
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{named.__module__}.{named.__qualname__}"
