"""What went wrong, as text that can be stored."""

from __future__ import annotations

import pytest

from lavoro.failure import MAX_TRACEBACK, ExceptionInfo, printable


def caught(error: BaseException) -> ExceptionInfo:
    try:
        raise error
    except BaseException as raised:
        return ExceptionInfo(raised)


def test_everything_of_the_exception() -> None:
    error = ValueError("bad")
    info = caught(error)
    assert (info.exception, info.type, info.internal) == (error, ValueError, False)
    assert info.tb is not None
    assert info.traceback.startswith("Traceback (most recent call last):")
    assert info.traceback.endswith("ValueError: bad\n")
    assert str(info) == info.traceback
    assert repr(info) == "<ExceptionInfo: ValueError('bad')>"


def test_of_a_long_traceback_the_end_is_kept() -> None:
    text = caught(ValueError("x" * (2 * MAX_TRACEBACK) + "end")).traceback
    assert len(text) == MAX_TRACEBACK
    assert text.endswith("end\n")


@pytest.mark.parametrize(("raw", "kept"), [("a\x00b", "a\\x00b"), ("a\ud800b", "a\\ud800b"), ("ü🚚\n", "ü🚚\n")])
def test_what_postgresql_cannot_store_is_escaped(raw: str, kept: str) -> None:
    assert printable(raw) == kept
    assert printable(raw).encode()
    assert caught(ValueError(raw)).traceback.endswith(f"ValueError: {kept}\n")


def test_causes_are_told() -> None:
    try:
        try:
            raise KeyError("inner")
        except KeyError as inner:
            raise ValueError("outer") from inner
    except ValueError as error:
        text = ExceptionInfo(error).traceback
    assert "KeyError: 'inner'" in text
    assert "direct cause" in text
