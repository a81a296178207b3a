"""Functions whose call runs nothing: refused where the task is made, and where a wrapper hid one, when it has run."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from lavoro import Lavoro, Task, shared_task
from lavoro.exceptions import ImproperlyConfigured


async def coroutine(number: int) -> int:
    await asyncio.sleep(0)
    return number


async def async_generator(number: int) -> AsyncIterator[int]:
    yield number


def generator(number: int) -> Iterator[int]:
    yield number


class Caller:
    async def __call__(self, number: int) -> int:
        return number

    async def method(self, number: int) -> int:
        return number


def wrapped(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any) -> Any:
        return function(*args)

    return wrapper


@pytest.fixture
def app() -> Iterator[Lavoro]:
    with Lavoro("unawaited", set_as_current=False, task_always_eager=True) as app:
        yield app


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (coroutine, r"coroutine is an async function.*asyncio\.run"),
        (async_generator, r"async_generator is an async generator function.*asyncio\.run"),
        (generator, "generator is a generator function.*returns a list"),
        (functools.partial(functools.partial(coroutine), 1), r"coroutine is an async function.*asyncio\.run"),
        (Caller(), r"Caller is an async function.*asyncio\.run"),
        (Caller().method, r"Caller\.method is an async function.*asyncio\.run"),
    ],
)
def test_what_runs_nothing_is_refused_where_the_task_is_made(app: Lavoro, function: Any, words: str) -> None:
    class Written(Task[..., Any]):
        name = "written"
        run = function if isinstance(function, functools.partial) else staticmethod(function)

    with pytest.raises(ImproperlyConfigured, match=f"^task written: .*{words}"):
        app.register_task(Written)
    if hasattr(function, "__name__"):
        with pytest.raises(ImproperlyConfigured, match=f"^task made: .*{words}"):
            app.task(function, name="made")
        with pytest.raises(ImproperlyConfigured, match=f"^task made: .*{words}"):
            app.task(bind=True, name="made", autoretry_for=(OSError,))(function)
        with pytest.raises(ImproperlyConfigured, match=words):
            shared_task(function)


@pytest.mark.parametrize("ignore_result", [False, True])
@pytest.mark.parametrize(
    ("function", "words"),
    [
        (coroutine, r"task hidden returned a coroutine, and .*asyncio\.run"),
        (async_generator, r"task hidden returned an async generator, and .*asyncio\.run"),
        (generator, "task hidden returned a generator, and .*returns a list"),
    ],
)
def test_what_a_wrapper_hides_fails_when_it_was_called(
    app: Lavoro, function: Any, words: str, ignore_result: bool
) -> None:
    task = app.task(wrapped(function), name="hidden", ignore_result=ignore_result)
    result = task.delay(1)
    assert result.state == "FAILURE"
    with pytest.raises(TypeError, match=words):
        result.get()


def test_a_wrapper_that_awaits_is_a_task(app: Lavoro) -> None:
    @functools.wraps(coroutine)
    def awaiting(number: int) -> int:
        return asyncio.run(coroutine(number))

    assert app.task(awaiting).delay(3).get() == 3
    listing = functools.wraps(generator)(lambda number: list(generator(number)))
    assert app.task(listing, name="all").delay(4).get() == [4]
