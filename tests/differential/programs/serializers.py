"""Serializers: what becomes of arguments and results of each kind."""

import collections
import dataclasses
import datetime as dt
import decimal
import enum
import fractions
import pathlib
import uuid

from celery import Celery
from record import attempt, say, shown

app = Celery("serializers")
app.conf.accept_content = ["json", "pickle", "yaml", "msgpack"]
GET = {"timeout": 30}


class Color(enum.Enum):
    RED = "red"


class Number(enum.IntEnum):
    ONE = 1


Point = collections.namedtuple("Point", "x y")


@dataclasses.dataclass
class Data:
    x: int


class Jsonable:
    def __json__(self):
        return {"json": 1}


VALUES = {
    "tuple": (1, (2, 3)),
    "list": [1, None, True, 1.5],
    "dict": {"a": {"b": [1]}},
    "number keys": {1: "a", 2.5: "b"},
    "none key": {None: 1},
    "date": dt.date(2020, 1, 2),
    "datetime": dt.datetime(2020, 1, 2, 3, 4, 5, 6),
    "datetime utc": dt.datetime(2020, 1, 2, 3, 4, 5, tzinfo=dt.timezone.utc),
    "datetime zone": dt.datetime(2020, 1, 2, 3, 4, 5, tzinfo=dt.timezone(dt.timedelta(hours=2))),
    "time": dt.time(3, 4, 5),
    "timedelta": dt.timedelta(seconds=5),
    "decimal": decimal.Decimal("1.10"),
    "uuid": uuid.UUID(int=7),
    "bytes": b"plain",
    "binary": b"\x00\xff",
    "set": {1},
    "frozenset": frozenset({1}),
    "enum": Color.RED,
    "int enum": Number.ONE,
    "named tuple": Point(1, 2),
    "data class": Data(3),
    "fraction": fractions.Fraction(1, 2),
    "path": pathlib.PurePosixPath("/a"),
    "jsonable": Jsonable(),
    "big": 2**70,
    "nan": float("nan"),
    "infinity": float("inf"),
    "unicode": "\u00e8\U0001f600",
    "zero byte": "a\x00b",
    "lone surrogate": "\ud800",
    "empty": "",
    "ordered": collections.OrderedDict(a=1),
    "exception": ValueError("x"),
    "generator keys": {"a": range(3)},
}


@app.task
def describe(value):
    return shown(value)


@app.task
def back(name):
    return VALUES[name]


@app.task(serializer="pickle")
def pickled(value):
    return shown(value)


def sent(task, value, **options):
    try:
        return task.apply_async((value,), **options).get(**GET)
    except Exception as error:
        return type(error).__name__


def main():
    for name, value in VALUES.items():
        say(f"argument.{name}", sent(describe, value))
        say(f"result.{name}", sent(back, name))


def part_pickle():
    for name, value in VALUES.items():
        if name != "generator keys":
            say(f"pickle.{name}", sent(pickled, value))


def part_others():
    for serializer in ("yaml", "msgpack", "json", "pickle"):
        for name in ("tuple", "list", "dict", "datetime", "decimal", "bytes", "unicode"):
            say(f"{serializer}.{name}", sent(describe, VALUES[name], serializer=serializer))


def part_refused():
    other = Celery("refuses", set_as_current=False)
    other.conf.accept_content = ["json"]
    attempt("result_serializer unknown", lambda: other.conf.update(result_serializer="nothing"))
