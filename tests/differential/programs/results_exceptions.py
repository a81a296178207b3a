"""Exceptions of many kinds, as they come back from a worker."""

import decimal
import json

from celery import Celery
from record import attempt, say

app = Celery("results_exceptions")
GET = {"timeout": 30}


class Plain(Exception):
    pass


class Required(Exception):
    def __init__(self, code, *, detail="none"):
        self.code = code
        self.detail = detail
        super().__init__(f"code {code}")


class TwoRequired(Exception):
    def __init__(self, first, second):
        super().__init__(first)
        self.second = second


class Outer:
    class Nested(Exception):
        pass


class Unencodable(Exception):
    def __init__(self):
        super().__init__(object())


class Child(KeyError, Plain):
    def __str__(self):
        return "words of its own"


class OnlyBase(BaseException):
    pass


def local_class():
    class Local(Exception):
        pass

    return Local("local")


def with_cause():
    try:
        raise KeyError("cause")
    except KeyError as error:
        made = ValueError("effect")
        made.__cause__ = error
        return made


def decode_error():
    try:
        b"\xff".decode("utf-8")
    except UnicodeDecodeError as error:
        return error


def json_error():
    try:
        json.loads("{")
    except ValueError as error:
        return error


MAKERS = {
    "plain": lambda: Plain("words"),
    "no arguments": lambda: Plain(),
    "many arguments": lambda: Plain("a", 1, None, [1, 2], {"k": "v"}),
    "tuple argument": lambda: Plain((1, 2)),
    "required": lambda: Required(5, detail="more"),
    "two required": lambda: TwoRequired("one", "two"),
    "nested": lambda: Outer.Nested("nested"),
    "local": local_class,
    "unencodable": lambda: Unencodable(),
    "child": lambda: Child("child"),
    "key error": lambda: KeyError("key"),
    "os error": lambda: FileNotFoundError(2, "not there", "/file"),
    "unicode": decode_error,
    "json": json_error,
    "decimal": lambda: decimal.InvalidOperation("bad"),
    "cause": with_cause,
    "assertion": lambda: AssertionError("not so"),
    "stop iteration": lambda: StopIteration(3),
    "runtime": lambda: RuntimeError("run"),
    "group name": lambda: Exception("a plain Exception"),
    "attribute": lambda: AttributeError("attr"),
    "type": lambda: TypeError("type"),
    "not implemented": lambda: NotImplementedError(),
    "long": lambda: ValueError("x" * 5000),
    "odd text": lambda: ValueError("\u00e8 \x00 \ud800"),
}


@app.task
def fail(name):
    raise MAKERS[name]()


@app.task
def deep(n):
    if n:
        deep.run(n - 1)
    raise ValueError("deep")


def main():
    for name in MAKERS:
        result = fail.apply_async((name,), task_id=name)
        attempt(f"{name}.get", result.get, **GET)
        error = result.result
        say(f"{name}.state", result.state)
        say(f"{name}.class", (type(error).__name__, type(error).__module__))
        say(f"{name}.is", isinstance(error, type(MAKERS[name]())))
        say(f"{name}.str", str(error)[:200])
        say(f"{name}.traceback", result.traceback.strip().splitlines()[-1][:200])
        say(f"{name}.attributes", (getattr(error, "code", "absent"), getattr(error, "second", "absent")))


def part_traceback():
    result = deep.apply_async((2,), task_id="deep")
    attempt("deep.get", result.get, **GET)
    lines = result.traceback.splitlines()
    say("deep.first", lines[0])
    say("deep.calls", sum("deep.run(n - 1)" in line for line in lines))
    say("deep.last", lines[-1])


def part_no_propagate():
    result = fail.delay("plain")
    value = result.get(propagate=False, **GET)
    say("no propagate", value)
    say("same", type(value) is Plain)
