"""What went wrong, as text that can be stored."""

from __future__ import annotations

import time

import pytest

from lavoro.protocol.failure import LINKS, MOST, ExceptionInfo, printable, traceback_of


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


def test_of_a_long_message_the_lines_that_led_to_it_are_kept() -> None:
    text = caught(ValueError("x" * (2 * MOST))).traceback
    assert text.startswith("Traceback (most recent call last):")
    assert "    raise error\n" in text
    assert f"ValueError: {'x' * (MOST // 5)}... (cut: {2 * MOST - MOST // 5} more characters)" in text
    assert len(text) < MOST / 2


def _chain_of(count: int, words: str) -> BaseException:
    error: BaseException | None = None
    for number in range(count):
        following = caught(ValueError(f"{words} {number}")).exception
        following.__cause__ = error
        error = following
    assert error is not None
    return error


def test_of_a_long_traceback_the_end_is_kept() -> None:
    text = traceback_of(_chain_of(20, "x" * 100), 1000)
    assert text.startswith("... (cut: ")
    assert text.endswith("x" * 100 + " 19\n")
    assert len(text) < 1100


def test_of_a_long_chain_the_last_links_are_told() -> None:
    error = _chain_of(5000, "number")
    began = time.process_time()
    text = traceback_of(error)
    assert time.process_time() - began < 0.5
    assert f"(cut: what came before the last {LINKS} exceptions)" in text
    assert "number 4900\n" in text
    assert "number 4899\n" not in text
    assert text.endswith("ValueError: number 4999\n")


def test_a_large_cause_is_cut_too() -> None:
    try:
        try:
            raise KeyError(["x" * 20_000_000])
        except KeyError as inner:
            raise ValueError("outer") from inner
    except ValueError as error:
        text = traceback_of(error)
    assert "KeyError: ['xxx" in text
    assert "(cut: " in text
    assert text.endswith("ValueError: outer\n")
    assert len(text) < MOST / 2


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
