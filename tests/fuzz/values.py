"""What the fuzzers throw: JSON of every shape, names, options that look right and are not, and whole rows."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from random import Random
from typing import Any, TypeVar

from hypothesis import strategies as st

T = TypeVar("T")
TASKS = ("fuzz.add", "fuzz.anything", "fuzz.nothing", "fuzz.retry", "fuzz.raise", "fuzz.limited")
"""Those that tests/fuzz/app.py registers."""

ODD = [
    "", " ", "a", "é", "日本", "\n", "\x1b[31m", "\x7f", "\u2028", "\U0001f600", "'", '"', "\\", "%s", "{}", "null",
    "-1", "1e400", "0" * 300, "x" * 3000, "self", "args", "__class__", "__type__", "id", "2030-01-01T00:00:00",
    "../../etc/passwd", "'; drop table lavoro.waiting; --", "a\nERROR b",
]  # fmt: skip
MARKS = [
    {"__type__": name, "__value__": value}
    for name, value in [
        ("date", "x"),
        ("nothing", 1),
        ("uuid", {}),
        ("base64", "é"),
        ("int", "f" * 5000),
        ("float", "nan"),
    ]
] + [{"exc_type": "SystemExit", "exc_message": [1], "exc_module": "builtins"}, {"exc_type": [], "exc_message": {}}]
NUMBERS = [0, 1, -1, 2**31, 2**63, -(2**64), 10**400, 0.5, -0.0, 1e308, True, False, None]

text = st.sampled_from(ODD)
scalar = st.sampled_from([*ODD, *NUMBERS, *MARKS])
value: st.SearchStrategy[Any] = scalar | st.recursive(
    scalar, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3), max_leaves=5
)

name = st.sampled_from(TASKS) | st.sampled_from([
    *filter(None, ODD), "os.system", "builtins.eval", "subprocess.run", "__import__", "fuzz.app.Canary", "fuzz.add ",
])  # fmt: skip

LOOKS_RIGHT = [
    "headers", "properties", "time_limit", "soft_time_limit", "ignore_result", "acks_late", "shadow", "root_id",
    "parent_id", "group_id", "task_id", "content_type", "link", "link_error", "chord", "chain", "v", "signature",
    "reply_to", "correlation_id", "queue", "retries",
]  # fmt: skip
CONTENT_TYPES = ["application/json", "application/x-python-serialize", "application/x-msgpack", "text/plain"]
options = (
    st.none()
    | value
    | st.dictionaries(st.sampled_from(LOOKS_RIGHT), value, max_size=4)
    | st.sampled_from([{"content_type": kind} for kind in CONTENT_TYPES])
)


class Canary:
    """Whoever unpickles it leaves a trace."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return open, (self.path, "w")


def payloads(canary: str) -> st.SearchStrategy[bytes | None]:
    """Bytes, and pickles that would do something."""
    evil = [pickle.dumps(Canary(canary)), pickle.dumps(([Canary(canary)], {})), b"[[1,2],{}]", b"\x92\x90\x80"]
    return st.none() | st.binary(max_size=30) | st.sampled_from(evil)


def as_json(given: Any) -> str | None:
    """Write it as a JSON column takes it."""
    return None if given is None else json.dumps(given)


TIMES = [
    "-infinity",
    "infinity",
    "4000-01-01 BC",
    "0001-01-01",
    "20000-01-01",
    "1969-12-31",
    "2000-01-01",
    "2100-01-01",
]
moment = st.none() | st.sampled_from(TIMES)
number = st.sampled_from([0, 0, 0, 1, 2, 100, -1, 2**15 - 1, 2**31 - 2, 2**31 - 1])
small = st.sampled_from([0, 0, 0, 1, 2, -1, -(2**15), 2**15 - 1])


def crowds(make: Callable[..., T], *, size: int, **parts: st.SearchStrategy[Any]) -> st.SearchStrategy[list[T]]:
    """Many cases of some drawn parts, which meet at random: drawing is what takes time.

    ``make`` gets one of each part, by name.
    """

    def meet(drawn: dict[str, list[Any]], seed: int) -> list[T]:
        dice = Random(seed)
        return [make(**{name: dice.choice(found) for name, found in drawn.items()}) for _ in range(size)]

    lists = {name: st.lists(part, min_size=4, max_size=8) for name, part in parts.items()}
    return st.builds(meet, st.fixed_dictionaries(lists), st.integers(0, 2**32))


def rows(canary: str, *, size: int) -> st.SearchStrategy[list[dict[str, Any]]]:
    """Rows of ``waiting``, as a person with psql could leave them."""
    return crowds(
        dict, size=size, queue=st.just("celery"), priority=small, attempt=number, retries=number, crashes=small,
        due=moment, expires=moment, created=moment, name=name, args=value.map(as_json), kwargs=value.map(as_json),
        options=options.map(as_json), payload=payloads(canary), reason=st.none() | text,
    )  # fmt: skip
