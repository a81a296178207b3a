"""Calls are checked against the function, with the words of Python."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from lavoro.arguments import Arguments


def plain(a: int, b: int = 0) -> None: ...
def keywords(a: int, *, b: int, c: int = 0) -> None: ...
def anything(*args: int, **kwargs: int) -> None: ...
def positional(a: int, /, b: int = 0) -> None: ...
def some(a: int, *rest: int, b: int = 0) -> None: ...
def more(a: int, **rest: int) -> None: ...
def nothing() -> None: ...


FUNCTIONS = [plain, keywords, anything, positional, some, more, nothing]
NAMES = [names for size in range(4) for names in itertools.combinations("abcd", size)]


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__name__)
def test_accepts_what_the_function_accepts(function: Callable[..., Any]) -> None:
    arguments = Arguments("task", function, skip_first=False)
    for count, names in itertools.product(range(4), NAMES):
        args, kwargs = (1,) * count, dict.fromkeys(names, 1)
        assert _accepts(arguments.check, args, kwargs) == _accepts(lambda a, k: function(*a, **k), args, kwargs)


def test_self_of_a_bound_task_is_not_given() -> None:
    arguments = Arguments("task", plain, skip_first=True)
    assert _accepts(arguments.check, (1,), {})
    assert _accepts(arguments.check, (), {"b": 1})
    assert not _accepts(arguments.check, (1, 2), {})


def test_error_names_the_task() -> None:
    with pytest.raises(TypeError, match=r"shop\.add\(\): missing a required argument: 'a'"):
        Arguments("shop.add", plain, skip_first=False).check((), {})


def test_builtin_without_a_signature_accepts_everything() -> None:
    Arguments("task", dict.fromkeys, skip_first=False).check((1, 2), {})
    Arguments("task", iter, skip_first=False).check((1, 2, 3), {})


def _accepts(call: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    try:
        call(args, kwargs)
    except TypeError:
        return False
    return True
