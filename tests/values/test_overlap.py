"""Overlapping: in order, one at a time, beside the making of the next; errors end it."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Iterator

import pytest

from lavoro.runtime.pipelining import in_turn, overlapped

place = contextvars.ContextVar("place", default="nowhere")


@pytest.mark.parametrize("count", [0, 1, 2, 3, 10])
@pytest.mark.parametrize("doing", [in_turn, overlapped])
def test_each_item_is_worked_on_in_order_before_it_is_yielded(doing: type, count: int) -> None:
    done: list[int] = []
    seen = []
    for item in doing(range(count), done.append):
        assert done[item] == item
        seen.append(item)
    assert seen == done == list(range(count))


def test_the_next_is_made_while_one_is_worked_on() -> None:
    made = threading.Event()

    def items() -> Iterator[str]:
        yield "first"
        yield "second"
        made.set()
        yield "third"

    def work(item: str) -> None:
        if item == "second":
            assert made.wait(30)

    assert list(overlapped(items(), work)) == ["first", "second", "third"]


def test_work_sees_the_context_of_the_caller() -> None:
    place.set("here")
    seen: list[str] = []
    list(overlapped([1, 2], lambda _: seen.append(place.get())))
    assert seen == ["here", "here"]


def test_an_error_of_the_work_ends_it() -> None:
    def work(item: int) -> None:
        if item == 2:
            raise ValueError(item)

    seen = []
    with pytest.raises(ValueError, match="2"):
        seen += [item for item in overlapped([1, 2, 3, 4], work) if seen.append(item) is None]
    assert seen == [1]


def test_an_error_of_the_items_comes_after_what_was_begun() -> None:
    done: list[int] = []

    def items() -> Iterator[int]:
        yield 1
        yield 2
        raise ValueError("no third")

    with pytest.raises(ValueError, match="no third"):
        list(overlapped(items(), done.append))
    assert done == [1, 2]
