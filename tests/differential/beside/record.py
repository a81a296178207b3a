"""What programs record values with; it lies on the path of both sides, and imports nothing but Python's own."""

from __future__ import annotations

import datetime as dt
import json
import os
import re
import socket
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

WHERE = os.environ.get("RECORD_WHERE", "")
"""``client``, or ``worker``: the keys of a worker begin with that word."""

_FILE = os.environ.get("RECORD_FILE", os.devnull)
_PROGRAMS = str(Path(__file__).parents[1])

_PLAIN = (type(None), bool, int, str, bytes, float)
_CONTAINERS = {list: "[]", tuple: "()", set: "{}", frozenset: "{}"}

_NORMAL: list[tuple[re.Pattern[str], str]] = [
    (re.compile(re.escape(_PROGRAMS)), "<programs>"),
    (re.compile(r"\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b"), "<id>"),
    (re.compile(r"\bgen\d+@"), "gen<pid>@"),
    (re.compile(rf"\b{re.escape(socket.gethostname())}\b"), "<host>"),
    (re.compile(r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?"), "<time>"),
    (re.compile(r"(?<![\w.])\d+\.\d{3,}(e-\d+)?s\b"), "<seconds>s"),
    (re.compile(r"\b0x[0-9a-f]{6,}\b"), "<address>"),
    (re.compile(r"redis://[\w.:/]+"), "<broker>"),
    (re.compile(r"postgresql(?:\+\w+)?://[\w.:/@*]+"), "<broker>"),
]


def say(key: str, value: Any) -> None:
    """Record a value under a key; values that come under the same key are compared as a sequence."""
    _write(key, shown(value))


def attempt(key: str, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Record what a call returns, or the exception that it raises; returns the value, or None."""
    try:
        value = function(*args, **kwargs)
    except BaseException as error:
        _write(key, f"raises {shown(error)}")
        return None
    _write(key, shown(value))
    return value


def eventually(condition: Callable[[], Any], seconds: float = 30) -> Any:
    """Wait until a condition that no event tells of holds; returns the value that it gives."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s")
        time.sleep(0.01)
    return value


def shown(value: Any) -> str:
    """Write a value as text in which that is equal which can be: ids, times, pids and addresses are replaced."""
    if isinstance(value, BaseException):
        # Celery's Retry has itself for its first argument.
        args = (shown(value.message if each is value else each) for each in value.args)
        return f"{type(value).__name__}({', '.join(args)})"
    if isinstance(value, type):
        return f"<class {value.__qualname__}>"
    if type(value) is float:
        return repr(int(value) if value.is_integer() else round(value, 3))  # 2.0 is equal to 2
    if isinstance(value, _PLAIN):
        return normal(repr(value)) if type(value) in _PLAIN else f"{type(value).__name__}:{normal(repr(value))}"
    if isinstance(value, (dt.datetime, dt.time)):
        return f"<{type(value).__name__}, {'naive' if value.tzinfo is None else value.strftime('%z')}>"
    if isinstance(value, Mapping):
        pairs = sorted(f"{shown(key)}: {shown(inner)}" for key, inner in value.items())
        return f"{'' if type(value) is dict else type(value).__name__}{{{', '.join(pairs)}}}"
    for kind, brackets in _CONTAINERS.items():
        if isinstance(value, kind):
            inner = [shown(each) for each in value]
            ordered = sorted(inner) if brackets == "{}" else inner
            name = "" if type(value) is kind else type(value).__name__
            return f"{name}{brackets[0]}{', '.join(ordered)}{brackets[1]}"
    return normal(repr(value))


def normal(text: str) -> str:
    """Replace in a text what differs from run to run."""
    for pattern, instead in _NORMAL:
        text = pattern.sub(instead, text)
    return text


def _write(key: str, text: str) -> None:
    name = normal(key if WHERE in ("", "client") else f"{WHERE} {key}").replace("\n", " ")
    line = json.dumps([name, text]) + "\n"
    # One write to a file opened for appending: the lines of several processes and threads stay whole.
    descriptor = os.open(_FILE, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)


if WHERE == "":
    print("record: RECORD_FILE and RECORD_WHERE are not set; nothing is kept", file=sys.stderr)
