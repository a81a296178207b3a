"""Pipelining: a thread works on one item of a loop while the loop makes the next."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def in_turn(items: Iterable[T], work: Callable[[T], object]) -> Iterator[T]:
    """Yield each item once ``work`` has been done on it."""
    for item in items:
        work(item)
        yield item


def overlapped(items: Iterable[T], work: Callable[[T], object]) -> Iterator[T]:
    """Yield each item once ``work`` has been done on it, while the next one is made.

    ``work`` runs on one item at a time and in order, in a thread with this thread's context; its errors are raised
    here, and end the loop. A single item needs no thread.
    """
    items = iter(items)
    doing = next(items, None)
    if doing is None:
        return
    following = next(items, None)
    if following is None:
        work(doing)
        yield doing
        return
    begun = threading.Event()

    def begin(item: T) -> None:
        begun.set()
        work(item)

    def start(item: T) -> Future[None]:
        begun.clear()
        future = worker.submit(contextvars.copy_context().run, begin, item)
        begun.wait()  # else this thread keeps the interpreter for 5 ms before the other thread runs
        return future

    with ThreadPoolExecutor(1, thread_name_prefix="lavoro-overlap") as worker:
        future = start(doing)
        while following is not None:
            future.result()
            future = start(following)
            yield doing
            doing = following
            following = next(items, None)
        future.result()
        yield doing
