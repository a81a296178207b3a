"""Signals that come while they are put off are handled afterwards, and handlers are as before."""

from __future__ import annotations

import signal
import threading

import pytest

from lavoro.runtime.handlers import signals_put_off


def test_a_handler_that_raises_raises_after_the_block() -> None:
    before, steps = signal.getsignal(signal.SIGINT), list[str]()

    def put_off() -> None:
        with signals_put_off():
            signal.raise_signal(signal.SIGINT)
            steps.append("the block goes on")
        steps.append("not reached")

    with pytest.raises(KeyboardInterrupt):
        put_off()
    assert steps == ["the block goes on"]
    assert signal.getsignal(signal.SIGINT) is before


def test_an_error_of_the_block_leaves_the_handlers_as_they_were() -> None:
    before = signal.getsignal(signal.SIGINT)

    def fail() -> None:
        with signals_put_off():
            raise ValueError("no number")

    with pytest.raises(ValueError, match="no number"):
        fail()
    assert signal.getsignal(signal.SIGINT) is before


def test_another_thread_puts_nothing_off() -> None:
    """It may not set handlers, and none is called in it."""
    done: list[bool] = []

    def put_off() -> None:
        with signals_put_off():
            done.append(True)

    thread = threading.Thread(target=put_off)
    thread.start()
    thread.join(60)
    assert done == [True]
