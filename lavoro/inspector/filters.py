"""Reads filters and cursors as users give them, and says what is wrong with them."""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import difflib
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from lavoro import serialization
from lavoro.exceptions import InspectorError
from lavoro.store.browsing import ORDERS, STAGES, Filter, Key
from lavoro.text.printable import described

NAMES = ("queue", "state", "stage", "name", "args", "worker", "since", "until", "error", "key")
_KEYS = "keys come with unique tasks, which this release does not have: leave key= out"


def filter_of(given: Mapping[str, Any]) -> Filter:
    """Return the filter; raises ``InspectorError``, which names the wrong part."""
    for name in given:
        if name not in NAMES:
            close = difflib.get_close_matches(name, NAMES, 1)
            hint = f": did you mean {close[0]}?" if close else f"; there are {', '.join(NAMES[:-1])}"
            raise InspectorError(f"there is no filter {name!r}{hint}")
    if given.get("key") is not None:
        raise InspectorError(_KEYS)
    stages = texts_of("stage", given)
    for stage in stages:
        if stage not in STAGES:
            raise InspectorError(f"stage is one of {', '.join(STAGES)}, not {stage!r}")
    since, until = time_of("since", given), time_of("until", given)
    if since is not None and until is not None and since >= until:
        raise InspectorError(f"since={since} is not before until={until}: no task is in between")
    worker = given.get("worker", "")
    if not isinstance(worker, str):
        raise InspectorError(f"worker is the name of a node, not {described(worker, 100)}")
    return Filter(
        texts_of("queue", given), texts_of("state", given), stages,
        pattern_of(given.get("name")), _arguments(given.get("args")), worker or None, since, until,
        tuple(error.rpartition(".")[2] for error in texts_of("error", given)),
    )  # fmt: skip


def order_of(order: str) -> str:
    """Return the order if there is one of that name."""
    if order not in ORDERS:
        raise InspectorError(f"order is one of {', '.join(ORDERS)}, not {order!r}")
    return order


def limit_of(limit: Any, most: int) -> int:
    """Return the limit if a page may have so many tasks."""
    if not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit <= most:
        raise InspectorError(f"limit is a whole number from 1 to {most:,}, not {described(limit, 100)}")
    return limit


def cursor_of(order: str, key: Key | None) -> str | None:
    """Write a place of a list as a text that can stand in an address."""
    if key is None:
        return None
    time = b"" if key.ended is None else _microseconds(key.ended).to_bytes(8, "big", signed=True)
    data = bytes([ORDERS.index(order)]) + key.id.bytes + time
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def key_of(order: str, cursor: str | None) -> Key | None:
    """Read a cursor of the same order."""
    if cursor is None:
        return None
    try:
        data = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        found = ORDERS[data[0]]
        key = Key(uuid.UUID(bytes=data[1:17]))
        if len(data) != (25 if found == "ended" else 17):
            raise ValueError(cursor)
        if found == "ended":
            key = key._replace(ended=_EPOCH + dt.timedelta(microseconds=int.from_bytes(data[17:], "big", signed=True)))
    except (ValueError, TypeError, IndexError, OverflowError, binascii.Error):
        raise InspectorError(f"{described(cursor, 100)} is no cursor: give the next of a page, unchanged") from None
    if found != order:
        raise InspectorError(f"the cursor is of a list in the order {found!r}, not {order!r}: keep the order")
    return key


_EPOCH = dt.datetime(2000, 1, 1, tzinfo=dt.timezone.utc)


def _microseconds(time: dt.datetime) -> int:
    return (time - _EPOCH) // dt.timedelta(microseconds=1)


def texts_of(name: str, given: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the texts of a condition; none means that there is no condition."""
    value = given.get(name)
    values = [] if value is None else [value] if isinstance(value, str) else value
    values = list(values) if isinstance(values, Iterable) else [values]
    if not all(isinstance(each, str) for each in values):
        raise InspectorError(f"{name} is a text or several, not {described(value, 100)}")
    if value is not None and not values:
        raise InspectorError(f"{name} is an empty list, which no task matches: leave it out to match all")
    return tuple(values)


def time_of(name: str, given: Mapping[str, Any]) -> dt.datetime | None:
    """Return a time, which is given as such or as a time before now."""
    value = given.get(name)
    if value is None:
        return None
    if isinstance(value, dt.timedelta):
        value = dt.datetime.now(dt.timezone.utc) - value
    if not isinstance(value, dt.datetime) or value.tzinfo is None:
        raise InspectorError(f"{name} is a time with a zone, or a timedelta before now, not {described(value, 100)}")
    return value


def pattern_of(name: Any) -> str | None:
    """Write a glob, with ``*`` and ``?``, as a pattern of SQL."""
    if name is None:
        return None
    if not isinstance(name, str):
        raise InspectorError(f"name is the name of a task, in which * and ? may stand, not {described(name, 100)}")
    escaped = name.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_")
    return escaped.replace("*", "%").replace("?", "_")


def _arguments(args: Any) -> tuple[str, str] | None:
    """Read what arguments have to contain: a JSON path, keyword arguments, or positional ones."""
    if args is None:
        return None
    if isinstance(args, str):
        return "path", args
    if not isinstance(args, (Mapping, list, tuple)):
        raise InspectorError(
            "args is a JSON path over {'args': [...], 'kwargs': {...}}, a dict that the keyword arguments contain, or"
            f" a list that the positional ones contain, not {described(args, 100)}"
        )
    return ("kwargs" if isinstance(args, Mapping) else "args"), serialization.dumps(args)
