"""The middleware of an application: a list, and the two functions that are made of it when it changes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, MutableSequence, Sequence
from typing import Any, TypeVar

from lavoro.config.settings import symbol
from lavoro.exceptions import ImproperlyConfigured
from lavoro.execution.context import Context
from lavoro.execution.coroutines import ASYNC_ADVICE
from lavoro.execution.retry import retry_after
from lavoro.middleware.calls import Middleware, RunCall, SendCall
from lavoro.middleware.hooks import run_with_hooks
from lavoro.text.printable import described

C = TypeVar("C", RunCall, SendCall)
F = TypeVar("F", bound=Callable[..., Any])
M = TypeVar("M")
Proceed = Callable[[C], Any]
Wrap = Callable[[C, Callable[[C], Any]], Any]

_METHODS = ("run", "send")


class MiddlewareStack(MutableSequence[Any]):
    """The middleware of an application, in order: the first is outermost, so its code runs first and last.

    Objects of ``Middleware``, or others with one of its methods; a class is called without arguments, and a text is the
    dotted path of either. ``around_run`` and ``around_send`` add plain functions::

        app.middleware.add(CorrelationId())

        @app.middleware.around_run
        def timed(call: RunCall, proceed: Callable[[RunCall], Any]) -> Any: ...
    """

    def __init__(self, given: Iterable[Any] = ()) -> None:
        self._items = [_made(each) for each in given]
        self._context: Wrap[RunCall] | None = None
        self.run: Proceed[RunCall] | None = None
        """Runs a task through the middleware; None: no middleware wraps runs."""
        self.send: Proceed[SendCall] | None = None
        """Sends a call through the middleware; None: no middleware wraps calls."""
        self._enter: Proceed[RunCall] = _run
        self._build()

    def _build(self) -> None:
        runs, sends = (_wraps(self._items, method) for method in _METHODS)
        self._enter = _stacked(runs if self._context is None else [self._context, *runs], _run)
        self.run = self._enter if runs else None
        self.send = _stacked(sends, _send) if sends else None

    # The list

    def add(self, middleware: M) -> M:
        """Add one at the end, as the innermost; return it, so that it may decorate a class."""
        self.append(middleware)
        return middleware

    def around_run(self, function: F) -> F:
        """Add a function ``(call, proceed)`` that wraps the runs of tasks; return it."""
        self.append(_Functions(run=function))
        return function

    def around_send(self, function: F) -> F:
        """Add a function ``(call, proceed)`` that wraps the calls of tasks; return it."""
        self.append(_Functions(send=function))
        return function

    def insert(self, index: int, value: Any) -> None:
        """Add one before that place: ``insert(0, ...)`` adds the outermost."""
        self._items.insert(index, _made(value))
        self._build()

    def __setitem__(self, index: Any, value: Any) -> None:
        self._items[index] = [_made(each) for each in value] if isinstance(index, slice) else _made(value)
        self._build()

    def __delitem__(self, index: Any) -> None:
        del self._items[index]
        self._build()

    def __getitem__(self, index: Any) -> Any:
        return self._items[index]

    def __len__(self) -> int:
        return len(self._items)

    def __repr__(self) -> str:
        return f"<middleware: {self._items!r}>"

    # Its use

    def within(self, context: Wrap[RunCall]) -> None:
        """Put the runs that anything wraps into a context, which is not one of the list: that of a web framework."""
        self._context = context
        self._build()

    def around(self, task: Any, request: Context, enter: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function to call in place of a task's own: the middleware goes around it, its hooks inside.

        An exception of ``autoretry_for`` leads to a retry wherever it was raised.
        """
        proceed = self._enter

        def run(*args: Any, **kwargs: Any) -> Any:
            try:
                return proceed(RunCall(task, request, args, kwargs, enter))
            except BaseException as error:
                retry_after(task, error)
                raise

        return run


class _Functions:
    """A middleware of one plain function."""

    def __init__(self, **functions: Callable[..., Any]) -> None:
        vars(self).update(functions)

    def __repr__(self) -> str:
        return " ".join(described(function) for function in vars(self).values())


def named(given: Any) -> list[Any]:
    """Return the middleware that the setting ``lavoro_middleware`` names; raises ImproperlyConfigured."""
    try:
        return [_made(each) for each in ([given] if isinstance(given, str) else given)]
    except (ImportError, TypeError) as error:
        raise ImproperlyConfigured(f"the setting lavoro_middleware: {error}") from error


def _made(given: Any) -> Any:
    """Return the object that is meant; raises TypeError or ImproperlyConfigured for one that can wrap nothing."""
    if isinstance(given, str):
        given = symbol(given)
    if inspect.isclass(given):
        given = _instance(given)
    if not any(callable(getattr(given, method, None)) for method in _METHODS):
        raise TypeError(
            f"{described(given)} is no middleware: it needs a method run(call, proceed) or send(call, proceed);"
            " a function is added with app.middleware.around_run or around_send"
        )
    for method in _METHODS:
        _refuse_unawaited(getattr(given, method, None))
    return given


def _instance(cls: type) -> Any:
    try:
        inspect.signature(cls).bind()
    except TypeError as error:
        raise TypeError(f"middleware {cls.__qualname__} needs arguments ({error}): give an object of it") from None
    except ValueError:  # a class without a signature
        pass
    return cls()


def _refuse_unawaited(function: Any) -> None:
    for is_one, what in ((inspect.iscoroutinefunction, "an async"), (inspect.isgeneratorfunction, "a generator")):
        if is_one(function):
            advice = ASYNC_ADVICE if what == "an async" else "it must call proceed(call) and return its value"
            raise ImproperlyConfigured(f"middleware {function.__qualname__} is {what} function, and {advice}")


def _wraps(items: Sequence[Any], method: str) -> list[Wrap[Any]]:
    """Return the methods of that name that do something."""
    plain = vars(Middleware)[method]
    found = [getattr(item, method, None) for item in items]
    return [wrap for wrap in found if callable(wrap) and getattr(wrap, "__func__", None) is not plain]


def _stacked(wraps: Sequence[Wrap[C]], last: Proceed[C]) -> Proceed[C]:
    for wrap in reversed(wraps):
        last = _around(wrap, last)
    return last


def _around(wrap: Wrap[C], proceed: Proceed[C]) -> Proceed[C]:
    return lambda call: wrap(call, proceed)


def _run(call: RunCall) -> Any:
    vars(call.request).pop("entered", None)  # a middleware may proceed twice
    if call.task.__binding__.hooked:
        return run_with_hooks(call)
    return call.enter(*call.args, **call.kwargs)


def _send(call: SendCall) -> Any:
    return call.deliver(call.args, call.kwargs, call.options)
