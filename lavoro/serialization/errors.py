"""Exceptions as JSON in Celery's shape, and back, without importing a name that stands in data."""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

from lavoro.serialization.json import dumps
from lavoro.text.printable import arguments, cut, described, heavy, plain, told

_LONGEST_NAME = 1000


def dumps_exception(exc: BaseException, most: int = 100_000) -> str:
    """Return ``exc`` as JSON in Celery's shape: ``exc_type``, ``exc_message`` (its arguments) and ``exc_module``.

    Arguments that JSON cannot carry are replaced by their repr. An exception without arguments whose text says
    something is stored with that text. All together about ``most`` characters are kept, with a note of how many are
    cut. Never raises because of what the exception holds.

    >>> dumps_exception(KeyError("name"))
    '{"exc_type":"KeyError","exc_message":["name"],"exc_module":"builtins"}'
    """
    cls = type(exc)
    args = arguments(exc)
    message = _within(args, most)
    if not args and (text := told(exc)):
        message = [cut(text, most)]
    kind, module = cut(cls.__qualname__, _LONGEST_NAME), cut(str(cls.__module__), _LONGEST_NAME)
    return dumps({"exc_type": kind, "exc_message": message, "exc_module": module})


def _within(args: Sequence[Any], most: int) -> list[Any]:
    kept: list[Any] = []
    for arg in args:
        if most <= 0:
            return [*kept, f"... (cut: {len(args) - len(kept)} more arguments)"]
        size = len(arg) if isinstance(arg, str) else None if heavy(arg, most) else _encoded_size(arg)
        if size is None or size > most:
            arg = cut(arg, most) if isinstance(arg, str) else described(arg, most)
            size = len(arg)
        kept.append(arg)
        most -= size
    return kept


def _encoded_size(value: object) -> int | None:
    try:
        return len(dumps(value))
    except Exception:  # a __json__ method may raise anything
        return None


def loads_exception(value: dict[str, Any]) -> BaseException:
    """Return an exception made of what ``loads(dumps_exception(exc))`` returned.

    Its class is the original one if that is already imported in this process, otherwise a new subclass of Exception
    of the same name. Nothing is imported, and nothing but an exception class is ever called.

    >>> loads_exception({"exc_type": "KeyError", "exc_message": ["name"], "exc_module": "builtins"})
    KeyError('name')
    """
    module, name = str(value.get("exc_module") or "builtins"), str(value.get("exc_type") or "Exception")
    message = value.get("exc_message", ())
    args = tuple(message) if isinstance(message, (list, tuple)) else (message,)
    cls = _imported_exception(module, name)
    rebuilt = _rebuilt(cls, args) if cls else None
    return _stand_in(plain(module), plain(name))(*args) if rebuilt is None else rebuilt


def _imported_exception(module: str, qualname: str) -> type[BaseException] | None:
    """Find an exception class by its full name without running any code of that module.

    Reading namespaces, not attributes, keeps a module's ``__getattr__`` from importing what the data names.
    """
    found: Any = sys.modules.get(module)
    if not isinstance(found, ModuleType):
        return None
    namespace = ModuleType.__getattribute__(found, "__dict__")
    for part in qualname.split("."):
        found = namespace.get(part)
        if not issubclass(type(found), type):
            return None
        namespace = type.__getattribute__(found, "__dict__")
    return found if issubclass(found, BaseException) else None


def _rebuilt(cls: Any, args: tuple[Any, ...]) -> BaseException | None:
    """Return an exception of ``cls`` that can be printed, made in the usual way if that works.

    A constructor may want other arguments than those that were stored: then a subclass passes it by. What it would have
    set may be needed to print the exception: then the subclass prints the stored arguments instead.
    """
    makers = (
        lambda: cls(*args), lambda: _passing_by(cls)(*args), lambda: _printable(cls)(*args),
        lambda: cls.__new__(cls, *args),
    )  # fmt: skip
    return next((exc for make in makers if (exc := _made(make, args)) is not None), None)


def _made(make: Callable[[], Any], args: tuple[Any, ...]) -> BaseException | None:
    try:
        exc = make()
        exc.args = args
        printable = bool(str(exc) + repr(exc))
    except (Exception, SystemExit):  # an exception class may do anything in its methods
        return None
    return exc if printable and isinstance(exc, BaseException) else None


def _namespace(module: str, qualname: str, **attributes: object) -> dict[str, object]:
    return {"__module__": module, "__qualname__": qualname, **attributes}


class UnpickleableExceptionWrapper(BaseException):
    """The error of a task that was made anew without its constructor, which wants other arguments: see ``exc_args``.

    It is an object of its own class too, so either is caught. It may lack attributes that the constructor sets.
    """

    @property
    def exc_module(self) -> str:
        """The module of the error's class."""
        return type(self).__module__

    @property
    def exc_cls_name(self) -> str:
        """The name of the error's class."""
        return type(self).__name__

    @property
    def exc_args(self) -> tuple[Any, ...]:
        """The arguments that were stored."""
        return self.args


@functools.lru_cache(maxsize=1_000)
def _passing_by(cls: type[Any], **methods: object) -> type[BaseException]:
    namespace = _namespace(cls.__module__, cls.__qualname__, __init__=BaseException.__init__, **methods)
    return type(cls.__name__, (cls, UnpickleableExceptionWrapper), namespace)


def _printable(cls: Any) -> type[BaseException]:
    return _passing_by(cls, __str__=BaseException.__str__, __repr__=BaseException.__repr__)


@functools.lru_cache(maxsize=1_000)
def _stand_in(module: str, qualname: str) -> type[Exception]:
    # type() refuses some characters in names; what comes from the database may hold any.
    name = re.sub(r"\W", "_", qualname.rpartition(".")[2]) or "Exception"
    return type(name, (Exception,), _namespace(module, qualname))
