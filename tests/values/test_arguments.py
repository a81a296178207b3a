"""Calls are accepted exactly where the function would accept them."""

from __future__ import annotations

import functools
import inspect
import itertools
from collections.abc import Callable
from typing import Any

import pytest

from lavoro.arguments import Arguments

FUNCTIONS: list[Callable[..., Any]] = [
    lambda: None,
    lambda a: None,
    lambda a, b: None,
    lambda a, b=1: None,
    lambda a=1, b=2: None,
    lambda *args: None,
    lambda a, *args: None,
    lambda **kwargs: None,
    lambda a, **kwargs: None,
    lambda *args, **kwargs: None,
    lambda *, a: None,
    lambda *, a=1: None,
    lambda a, *, b: None,
    lambda a, *, b=1, c: None,
    lambda a, b=1, *args, c, d=2, **kwargs: None,
    lambda a, /: None,
    lambda a, b=1, /: None,
    lambda a, /, b: None,
    lambda a, /, **kwargs: None,
    lambda a, /, b=1, *, c=2: None,
    functools.partial(lambda a, b, c=1: None, 1),
    functools.partial(lambda a, b, c=1: None, b=1),
]
VALUES = [(), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)]
KEYWORDS = [
    dict.fromkeys(names, 0) for count in range(4) for names in itertools.combinations(("a", "b", "c", "d", "x"), count)
]


def complaint(call: Callable[[], object]) -> str | None:
    try:
        call()
    except TypeError as error:
        return str(error)
    return None


@pytest.mark.parametrize("number", range(len(FUNCTIONS)))
def test_the_quick_way_agrees_with_inspect(number: int) -> None:
    function = FUNCTIONS[number]
    arguments, signature = Arguments("a.task", function, skip_first=False), inspect.signature(function)
    for args, kwargs in itertools.product(VALUES, KEYWORDS):
        refused = complaint(lambda args=args, kwargs=kwargs: signature.bind(*args, **kwargs))
        found = complaint(lambda args=args, kwargs=kwargs: arguments.check(args, kwargs))
        assert found == (refused and f"a.task(): {refused}")


def test_a_bound_task_is_called_without_itself() -> None:
    arguments = Arguments("a.task", lambda self, a, b=1: None, skip_first=True)
    arguments.check((1,), {})
    arguments.check((), {"a": 1, "b": 2})
    with pytest.raises(TypeError, match="a.task.*: missing a required argument: 'a'"):
        arguments.check((), {})
    with pytest.raises(TypeError, match="too many positional arguments"):
        arguments.check((1, 2, 3), {})


def test_a_method_and_a_callable_object() -> None:
    class Adder:
        def add(self, a: int) -> None: ...

        def __call__(self, a: int) -> None: ...

    for function in (Adder().add, Adder()):
        Arguments("a.task", function, skip_first=False).check((1,), {})
        with pytest.raises(TypeError):
            Arguments("a.task", function, skip_first=False).check((1, 2), {})


def test_a_builtin_without_a_signature_takes_what_it_likes() -> None:
    Arguments("a.task", dict, skip_first=False).check((1, 2, 3), {"x": 1})
