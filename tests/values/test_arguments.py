"""Calls are accepted exactly where the function would accept them."""

from __future__ import annotations

import functools
import inspect
import itertools
import sys
from collections.abc import Callable
from typing import Any

import pytest

from lavoro.definition.arguments import Arguments

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


def decorated(wrapper: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(lambda self, user, password=None: None)
    @functools.wraps(wrapper)
    def outer(*args: Any, **kwargs: Any) -> Any:
        return wrapper(*args, **kwargs)

    return outer


@pytest.mark.parametrize(("args", "kwargs"), [((), {}), ((1,), {}), ((1, 2, 3), {}), ((), {"user": 1, "extra": 2})])
@pytest.mark.parametrize("skip_first", [True, False])
def test_a_decorator_with_wraps_says_itself_what_it_takes(args: Any, kwargs: Any, skip_first: bool) -> None:
    Arguments("a.task", decorated(lambda *_: None), skip_first=skip_first).check(args, kwargs)


def test_a_decorator_that_adds_an_argument_and_takes_one_away() -> None:
    @functools.wraps(lambda session, user: None)
    def wrapper(user: int, attempt: int) -> None: ...

    arguments = Arguments("a.task", wrapper, skip_first=False)
    arguments.check((1,), {"attempt": 2})
    with pytest.raises(TypeError, match=r"a.task\(\): missing a required argument: 'attempt'"):
        arguments.check((1,), {})


def test_names_of_positional_arguments_are_those_of_what_is_decorated() -> None:
    assert Arguments("a.task", decorated(lambda *_: None), skip_first=True).names == ("user", "password")
    assert Arguments("a.task", lambda a, *args, b: None, skip_first=False).names == ("a",)
    assert Arguments("a.task", lambda a, b, /: None, skip_first=True).names == ("b",)


@pytest.mark.skipif(sys.version_info < (3, 14), reason="annotations are read when a function is made")
def test_annotations_that_name_what_only_type_checkers_know() -> None:
    names: dict[str, Any] = {}
    exec("def f(x: Unknown, y: int = 0) -> Unknown: ...", names)
    with pytest.raises(TypeError, match="missing a required argument: 'x'"):
        Arguments("a.task", names["f"], skip_first=False).check((), {})
