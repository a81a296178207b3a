"""The current application, and the tasks that all applications share."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any, NamedTuple

_local = threading.local()
_default: Any = None
_make_default: Callable[[], Any] | None = None
_made: Any = None
"""The application that was made on demand; one that is created later becomes the default instead."""

NONE_MADE = "no application was made in this process", "import the module that makes it (app = Lavoro(...))"
missing_because = NONE_MADE
"""The reason why no application is current, and what to do."""

finders: list[Callable[[], Any]] = []
"""Functions that are called first: each returns the application of a framework's own context, or None."""
shared: list[Callable[[Any], Any]] = []
"""Makers of shared tasks: each application calls all of them with itself before it reads its tasks."""


def set_current(app: Any) -> None:
    """Make the application current in this thread, and the default if there is none yet."""
    global _default
    _local.app = app
    if _default is None:
        _default = app


def set_default(app: Any) -> None:
    """Make the application the default of all threads."""
    global _default
    _default = app


def pass_over(app: Any) -> None:
    """Note that an application exists that does not become current (``set_as_current=False``)."""
    global missing_because
    advice = "ask it itself (app.AsyncResult(id), @app.task), or call its set_default()"
    missing_because = (f"the application {app!r} was made with set_as_current=False", advice)


def forget(app: Any) -> None:
    """Make the application neither current nor default."""
    global _default, missing_because
    if app in (getattr(_local, "app", None), _default):
        missing_because = (f"the application {app!r} was closed", "make another one, or call set_default() of it")
    if getattr(_local, "app", None) is app:
        _local.app = None
    if _default is app:
        _default = None


def when_missing(make: Callable[[], Any]) -> None:
    """Set the maker of a default application, for when one is needed and none exists."""
    global _make_default
    _make_default = make


def get() -> Any:
    """Return the current application: this thread's, else the default, else one that is made for this process."""
    global _made
    app = get_existing()
    if app is None:
        if _make_default is None:
            import_module("lavoro.app")  # which sets the maker
        app = _made = _made or (_make_default and _make_default())
    return app


def app_or_default(app: Any = None) -> Any:
    """Return this application, or the current one if it is None."""
    return get() if app is None else app


def get_existing() -> Any:
    """Return the current application, or None where none was made yet."""
    for find in finders:
        if (app := find()) is not None:
            return app
    return getattr(_local, "app", None) or _default


class Existing(NamedTuple):
    """The applications of this thread and process at a moment, and the makers of shared tasks."""

    current: Any
    default: Any
    made: Any
    shared: list[Callable[[Any], Any]]

    @classmethod
    def now(cls) -> Existing:
        """Return those of this moment."""
        return cls(getattr(_local, "app", None), _default, _made, [*shared])

    def restore(self) -> None:
        """Make them those of the thread and the process again."""
        global _default, _made
        _local.app, _default, _made = self.current, self.default, self.made
        shared[:] = self.shared


class Proxy:
    """Stands for an object that is looked up at each use."""

    def __init__(self, lookup: Callable[[], Any]) -> None:
        object.__setattr__(self, "_lookup", lookup)

    def _get_current_object(self) -> Any:
        """Return the object that the proxy stands for now."""
        return self._lookup()

    # isinstance() asks for this after the real type
    __class__ = property(lambda self: type(self._lookup()))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._lookup(), name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._lookup(), name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self._lookup(), name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._lookup()(*args, **kwargs)

    def __copy__(self) -> Any:
        return self

    def __deepcopy__(self, memo: object) -> Any:
        return self

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self._lookup().__reduce_ex__(protocol)

    def __repr__(self) -> str:
        return repr(self._lookup())

    def __str__(self) -> str:
        return str(self._lookup())

    def __eq__(self, other: object) -> bool:
        return bool(self._lookup() == other)

    def __hash__(self) -> int:
        return hash(self._lookup())

    def __bool__(self) -> bool:
        return self._lookup() is not None

    def __len__(self) -> int:
        return len(self._lookup())

    def __getitem__(self, key: Any) -> Any:
        return self._lookup()[key]

    def __setitem__(self, key: Any, value: Any) -> None:
        self._lookup()[key] = value

    def __delitem__(self, key: Any) -> None:
        del self._lookup()[key]

    def __contains__(self, value: Any) -> bool:
        return value in self._lookup()

    def __iter__(self) -> Iterator[Any]:
        return iter(self._lookup())

    def __enter__(self) -> Any:
        return self._lookup().__enter__()

    def __exit__(self, *raised: Any) -> Any:
        return self._lookup().__exit__(*raised)

    def __dir__(self) -> list[str]:
        return dir(self._lookup())
