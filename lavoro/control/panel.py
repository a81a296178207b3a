"""The commands of an application's own: functions that a worker calls when it is told to."""

from __future__ import annotations

from collections import UserDict
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])


class State:
    """The first argument of a command: the worker that carries it out."""

    def __init__(self, app: Any, hostname: str, consumer: Any = None) -> None:
        self.app, self.hostname, self.consumer = app, hostname, consumer

    def __repr__(self) -> str:
        return f"<State of {self.hostname}>"


class CommandInfo(NamedTuple):
    """The description of a command, for the command line; the fields are Celery's."""

    alias: str | None
    type: str
    visible: bool
    default_timeout: float
    help: str
    signature: str | None
    args: Sequence[tuple[str, Callable[[str], Any]]] | None
    variadic: str | None


class Panel(UserDict[str, Callable[..., Any]]):
    """The registry of commands, for all applications of the process."""

    data: ClassVar[dict[str, Callable[..., Any]]] = {}  # type: ignore[misc]
    meta: ClassVar[dict[str, CommandInfo]] = {}

    @classmethod
    def register(cls, *args: Any, **options: Any) -> Any:
        """Register a function, or return a decorator that does; options are those of `control_command`."""
        return cls._register(**options)(*args) if args else cls._register(**options)

    @classmethod
    def _register(
        cls, name: str | None = None, alias: str | None = None, type: str = "control", visible: bool = True,
        default_timeout: float = 1.0, help: str | None = None, signature: str | None = None,
        args: Sequence[tuple[str, Callable[[str], Any]]] | None = None, variadic: str | None = None,
    ) -> Callable[[Function], Function]:  # fmt: skip
        def decorate(function: Function) -> Function:
            known = name or function.__name__
            words = help or (function.__doc__ or "").strip().partition("\n")[0]
            cls.meta[known] = CommandInfo(alias, type, visible, default_timeout, words, signature, args, variadic)
            cls.data.update(dict.fromkeys(filter(None, (known, alias)), function))
            return function

        return decorate


def control_command(**options: Any) -> Callable[[Function], Function]:
    """Make a function a command, which changes something in a worker; it gets a `State`, then its arguments::

        @control_command(args=[("size", int)], signature="[SIZE]")
        def resize_cache(state, size=100):
            cache.resize(size)
            return {"ok": "resized"}

    `app.control.broadcast("resize_cache", {"size": 10}, reply=True)` calls it in one process of each worker, and
    `lavoro control resize_cache 10` too. Options: ``name``, ``alias``, ``args`` (names and types, for the command
    line), ``signature`` and ``help`` (shown there), ``variadic`` (the argument that takes all others),
    ``default_timeout`` (seconds), ``visible``.
    """
    return Panel._register(type="control", **options)


def inspect_command(**options: Any) -> Callable[[Function], Function]:
    """Make a function a question to a worker; options as for `control_command`."""
    return Panel._register(type="inspect", **options)
