"""Exceptions come back as what they were, as far as that is safe, and otherwise with all they said."""

from __future__ import annotations

import builtins
import gc
import json
import math
import random
import string
import sys
import weakref
from datetime import date
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lavoro.exceptions import (
    MaxRetriesExceededError,
    NotRegistered,
    SoftTimeLimitExceeded,
)
from lavoro.serialization import (
    UnpickleableExceptionWrapper,
    dumps_exception,
    loads,
    loads_exception,
)

# Two halves of a pair, written apart, are one character to every JSON reader: only a lone half can survive.
texts = st.text() | st.text(st.characters(min_codepoint=0xD800, max_codepoint=0xDBFF)) | st.just("\0")


class Plain(Exception):
    """An exception as most are."""

    class Inner(Exception):
        """A nested one."""


class TwoWords(Exception):
    """Its constructor wants other arguments than it passes on."""

    def __init__(self, subject: str, verb: str) -> None:
        super().__init__(f"{subject} {verb}")
        self.subject = subject


class Shouting(Exception):
    """Its constructor changes what it was given."""

    def __init__(self, text: str) -> None:
        super().__init__(text + "!")


class Coded(Exception):
    """It has a text of its own, and no arguments."""

    def __init__(self, *, code: int) -> None:
        self.code = code

    def __str__(self) -> str:
        return f"code {self.code}"


class Unprintable(Exception):
    """Nothing can be said about it."""

    def __str__(self) -> str:
        raise RuntimeError("no words")

    __repr__ = __str__


class Final(Exception):
    """It can be neither made from outside nor subclassed."""

    def __new__(cls, *args: object) -> Final:
        raise TypeError("made elsewhere")

    def __init_subclass__(cls) -> None:
        raise TypeError("final")


def back(exc: BaseException) -> BaseException:
    return loads_exception(loads(dumps_exception(exc)))


@pytest.mark.parametrize(
    "exc",
    [
        ValueError("wrong"),
        KeyError("name"),
        ZeroDivisionError(),
        OSError(2, "No such file"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
        SystemExit(3),
        Plain("a", 1, None, date(2030, 1, 1), math.inf, b"\xff"),
        Plain.Inner("x"),
        MaxRetriesExceededError("too often"),
        NotRegistered("tasks.add"),
        SoftTimeLimitExceeded(),
        json.JSONDecodeError("Expecting value", "", 0),
        TwoWords("dogs", "bark"),
        Shouting("hey"),
    ],
    ids=repr,
)
def test_exceptions_come_back(exc: BaseException) -> None:
    again = back(exc)
    assert type(again).__qualname__ == type(exc).__qualname__
    assert isinstance(again, type(exc))
    assert again.args == exc.args
    assert str(again) == str(exc)
    assert str(back(again)) == str(exc)


@pytest.mark.parametrize("exc", [TwoWords("dogs", "bark"), Coded(code=5)], ids=repr)
def test_an_exception_without_its_constructor_is_caught_as_with_celery(exc: Exception) -> None:
    again = back(exc)
    assert isinstance(again, UnpickleableExceptionWrapper)
    assert isinstance(again, type(exc))
    assert (again.exc_module, again.exc_cls_name) == (__name__, type(exc).__name__)
    assert again.exc_args == again.args == (str(exc),)


@pytest.mark.parametrize("exc", [Plain("a"), Shouting("hey"), SystemExit(3)], ids=repr)
def test_an_exception_of_its_constructor_is_nothing_but_its_own_class(exc: BaseException) -> None:
    assert type(back(exc)) is type(exc)


def test_the_shape_is_that_of_celery() -> None:
    assert json.loads(dumps_exception(Plain.Inner("x", 1))) == {
        "exc_type": "Plain.Inner",
        "exc_message": ["x", 1],
        "exc_module": __name__,
    }


def test_arguments_that_json_cannot_carry_become_their_repr() -> None:
    assert back(Plain("x", {1, 2}, Unprintable())).args == (
        "x",
        "{1, 2}",
        "<Unprintable: repr() raised RuntimeError>",
    )


def test_a_text_without_arguments_is_kept() -> None:
    again = back(Coded(code=5))
    assert isinstance(again, Coded)
    assert str(again) == "code 5"


def test_an_exception_without_words_can_be_stored() -> None:
    again = back(Unprintable())
    assert isinstance(again, Unprintable)
    assert str(again) == "<Unprintable: str() raised RuntimeError>"


def test_an_exception_that_cannot_be_made_gets_a_stand_in() -> None:
    again = loads_exception({"exc_type": "Final", "exc_message": ["x"], "exc_module": __name__})
    assert not isinstance(again, Final)
    assert (type(again).__name__, type(again).__module__, str(again)) == ("Final", __name__, "x")


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 has no exception groups")
def test_groups_of_exceptions_keep_their_text() -> None:
    again = back(vars(builtins)["ExceptionGroup"]("several", [ValueError("one")]))
    assert type(again).__name__ == "ExceptionGroup"
    assert "ValueError('one')" in str(again)


def test_unknown_classes_are_made_once() -> None:
    stored = {"exc_type": "CardDeclined", "exc_message": ["no funds"], "exc_module": "shop.payments"}
    first, second = loads_exception(stored), loads_exception(stored)
    assert type(first) is type(second)
    assert isinstance(first, Exception)
    assert (type(first).__module__, repr(first)) == ("shop.payments", "CardDeclined('no funds')")
    assert loads(dumps_exception(first)) == stored


def test_local_classes_are_made_anew() -> None:
    class Local(Exception):
        pass

    again = back(Local("x"))
    assert (type(again).__name__, type(again).__qualname__) == ("Local", Local.__qualname__)


def test_no_module_is_imported() -> None:
    name = next(name for name in ("this", "antigravity", "tabnanny", "pyclbr") if name not in sys.modules)
    loads_exception({"exc_type": "Error", "exc_message": [], "exc_module": name})
    assert name not in sys.modules


def test_no_module_is_asked_for_names_it_does_not_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    class Eager(ModuleType):
        def __getattribute__(self, name: str) -> Any:
            raise AssertionError(f"asked for {name}")

    monkeypatch.setitem(sys.modules, "eager", Eager("eager"))
    again = loads_exception({"exc_type": "Error", "exc_message": ["x"], "exc_module": "eager"})
    assert str(again) == "x"


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("os", "system"),
        ("builtins", "print"),
        ("builtins", "int"),
        ("builtins", "eval"),
        ("subprocess", "Popen"),
        ("os", "path.join"),
        ("builtins", "ValueError.__init__"),
        ("builtins", "ValueError.__class__"),
        ("collections", "abc.Mapping"),
        ("builtins", ""),
        ("builtins", "."),
        ("", "nul\0"),
        ("x", "half\ud800"),
    ],
)
def test_nothing_but_an_exception_class_is_called(module: str, name: str, capfd: pytest.CaptureFixture[str]) -> None:
    again = loads_exception({"exc_type": name, "exc_message": ["echo called"], "exc_module": module})
    assert isinstance(again, Exception)
    assert str(again) == "echo called"
    assert capfd.readouterr().out == ""


def test_a_module_that_is_no_module_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "odd", Plain)
    assert not isinstance(loads_exception({"exc_type": "Inner", "exc_message": [], "exc_module": "odd"}), Plain.Inner)


@pytest.mark.parametrize(
    ("stored", "text"),
    [
        ({"exc_type": "ValueError", "exc_message": "old form"}, "old form"),
        ({"exc_type": "ValueError", "exc_message": ["a"], "exc_module": None}, "a"),
        ({"exc_type": "ValueError"}, ""),
        ({}, ""),
    ],
)
def test_incomplete_exceptions_can_be_read(stored: dict[str, Any], text: str) -> None:
    assert str(loads_exception(stored)) == text


@given(
    st.text(),
    st.lists(texts | st.floats() | st.binary(), max_size=3),
    st.text(string.ascii_letters + "._<>\0 ", max_size=20),
)
def test_any_exception_can_be_read(name: str, message: list[object], module: str) -> None:
    again = loads_exception({"exc_type": name, "exc_message": message, "exc_module": module})
    assert isinstance(again, BaseException)
    assert isinstance(str(again), str)


def test_the_made_classes_do_not_fill_the_memory() -> None:
    names = [f"Error{number}" for number in random.sample(range(100_000), 2_000)]
    made = [
        weakref.ref(type(loads_exception({"exc_type": name, "exc_message": [], "exc_module": "m"}))) for name in names
    ]
    gc.collect()
    assert sum(each() is not None for each in made) <= 1_000


def test_a_stand_in_has_a_name_that_can_be_shown() -> None:
    told = {"exc_type": "Own\x1b[2J", "exc_message": ["x"], "exc_module": "a\nb"}
    again = type(loads_exception(told))
    assert (again.__module__, again.__qualname__) == (r"a\nb", r"Own\x1b[2J")


class Exiting(Exception):
    def __init__(self, *args: object) -> None:
        if args == ("again",):
            sys.exit("on purpose")

    def __str__(self) -> str:
        sys.exit("on purpose")


def test_a_class_whose_methods_end_the_process_ends_none() -> None:
    error = Exiting.__new__(Exiting, "again")
    again = loads_exception(loads(dumps_exception(error)))
    assert again.args == ("again",)
    assert str(again) == "again"
