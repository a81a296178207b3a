"""What people are shown of any value: one line, of a bounded length, on which a terminal does nothing."""

from __future__ import annotations

import time
from typing import Any

import pytest

from lavoro.text.printable import cut, described, heavy, plain, told


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("add", "add"),
        ("ü🚚 👩‍🚒", "ü🚚 👩‍🚒"),
        ("a\nERROR: forged", r"a\nERROR: forged"),
        ("a\r\tb\x00", r"a\r\tb\x00"),
        ("\x1b[2J\x1b]0;title\x07", r"\x1b[2J\x1b]0;title\x07"),
        ("\x9b2J\x85", r"\x9b2J\x85"),
        ("\u202eevil\u2066\u2069\u200f", r"\u202eevil\u2066\u2069\u200f"),
        ("a\u2028b", r"a\u2028b"),
        ("\ud800", r"\ud800"),
    ],
)
def test_what_a_terminal_acts_on_is_escaped(raw: str, shown: str) -> None:
    assert plain(raw) == shown
    assert plain(raw).encode()


def test_the_ends_of_lines_may_stay() -> None:
    assert plain("a\n\tb\r\x1b", lines=True) == "a\n\tb\\r\\x1b"


def test_a_cut_is_told() -> None:
    assert cut("abc", 3) == "abc"
    assert cut("abcdef", 3) == "abc... (cut: 3 more characters)"


class Rude:
    """Its methods do what they should not."""

    def __init__(self, what: Any) -> None:
        self.what = what

    def __repr__(self) -> str:
        if isinstance(self.what, BaseException):
            raise self.what
        return repr(self) if self.what == "loop" else self.what  # type: ignore[no-any-return]

    __str__ = __repr__


@pytest.mark.parametrize(
    ("what", "error"),
    [(ValueError(), "ValueError"), (SystemExit(1), "SystemExit"), (7, "TypeError"), ("loop", "RecursionError")],
)
def test_values_that_cannot_tell_what_they_are(what: Any, error: str) -> None:
    assert described(Rude(what)) == f"<Rude: repr() raised {error}>"
    assert told(Rude(what)) == f"<Rude: str() raised {error}>"
    assert described([1, Rude(what)]) == f"[1, <Rude: repr() raised {error}>]"
    assert described(ValueError("x", Rude(what))) == f"ValueError('x', <Rude: repr() raised {error}>)"


VALUES: list[Any] = [
    None, 1, 1.5, "a'b", b"\xff", bytearray(b"x"), [], (), {}, set(), [1], (1,), (1, 2), {1: "x"}, {3}, frozenset({3}),
    [{"a": (1, [2])}], ValueError(), ValueError("x"), KeyError("x", 1), range(3), object,
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_a_short_value_is_described_by_its_repr(value: Any) -> None:
    assert described(value) == repr(value)


ERRORS = [ValueError(), ValueError("x"), ValueError(ValueError("x")), ValueError(1, "x"), KeyError(1)]


@pytest.mark.parametrize("error", ERRORS)
def test_an_exception_is_told_by_its_str(error: BaseException) -> None:
    assert told(error) == str(error)


def test_a_circle_ends() -> None:
    error = ValueError()
    error.args = (error,)
    assert told(error) == "<ValueError: str() raised RecursionError>"
    assert "RecursionError" in described(error)
    circle: list[Any] = []
    circle.append(circle)
    assert described(circle).startswith("[[[[")
    assert heavy(circle, 1000)


LARGE: list[Any] = [
    "x" * 50_000_000, b"\xff" * 50_000_000, list(range(3_000_000)), [[["x"] * 1000] * 1000] * 1000,
    dict.fromkeys(range(1_000_000), "x"), ValueError("x" * 50_000_000), ["x" * 50_000_000],
]  # fmt: skip


@pytest.mark.parametrize("most", range(12))
def test_no_more_is_made_than_is_left(most: int) -> None:
    assert len(described([["x" * 1000], {"y" * 1000: "z" * 1000}], most)) < 200


@pytest.mark.parametrize("value", LARGE, ids=lambda value: type(value).__name__)
def test_no_more_is_made_of_a_large_value_than_is_shown(value: Any) -> None:
    began = time.process_time()
    text = described(value, 1000)
    assert time.process_time() - began < 0.1
    assert len(text) < 1500
    assert "(cut: " in text
    assert isinstance(value, ValueError) or heavy(value, 1000)
