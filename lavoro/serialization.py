"""Turns arguments, results and exceptions into text that PostgreSQL can store, as Celery's messages have it.

JSON is the usual form. Types that JSON lacks travel as ``{"__type__": name, "__value__": value}``, in the formats of
kombu: ``datetime``, ``date``, ``time``, ``decimal``, ``uuid``, ``bytes``, ``base64``. Two names are Lavoro's own, for
what kombu cannot send through a ``json`` column: ``float`` (NaN and the infinities) and ``int`` (thousands of digits).

Nothing named in data is ever imported or evaluated; pickle is decoded only where ``accept_content`` allows it.
"""

from __future__ import annotations

import base64
import functools
import importlib
import json
import math
import pickle
import re
import sys
import uuid
from collections.abc import Callable, Collection, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from types import ModuleType
from typing import Any, NamedTuple, TypeVar

from lavoro.exceptions import ImproperlyConfigured, SecurityError, SoftTimeLimitExceeded
from lavoro.text.printable import arguments, cut, described, heavy, plain, told

__all__ = [
    "Encoded",
    "decode",
    "dumps",
    "dumps_exception",
    "encode",
    "loads",
    "loads_exception",
    "register",
    "register_type",
    "unregister",
]

T = TypeVar("T")
E = TypeVar("E")
Buffer = bytes | bytearray | memoryview
Path = tuple[object, ...]

# ---------------------------------------------------------------------------------------------- JSON: types it lacks


def _marked(name: str, value: object) -> dict[str, object]:
    return {"__type__": name, "__value__": value}


def _bytes_marked(value: bytes) -> dict[str, object]:
    try:
        return _marked("bytes", value.decode("utf-8"))
    except UnicodeDecodeError:
        return _marked("base64", base64.b64encode(value).decode("ascii"))


type_encoders: dict[type, Callable[[Any], object]] = {bytes: _bytes_marked}
type_decoders: dict[str, Callable[[Any], object]] = {
    "bytes": lambda text: text.encode("utf-8"),
    "base64": base64.b64decode,
    "float": float,
    "int": lambda text: int(text, 16),
}


def register_type(
    cls: type[T], name: str | None, encoder: Callable[[T], E], decoder: Callable[[E], T] | None = None
) -> None:
    """Let JSON carry objects of ``cls`` and of its subclasses, marked with ``name``.

    ``encoder`` returns something JSON can carry, ``decoder`` makes the object of it again. Every process that sends or
    receives such objects must register the type under the same name. With None as the name there is no mark: the
    receiver gets what ``encoder`` returned.

    >>> register_type(complex, "complex", lambda value: [value.real, value.imag], lambda pair: complex(*pair))
    """
    if name is None:
        type_encoders[cls] = encoder
    else:
        type_encoders[cls] = lambda value: _marked(name, encoder(value))
        type_decoders[name] = decoder or (lambda value: value)


register_type(datetime, "datetime", datetime.isoformat, datetime.fromisoformat)
register_type(date, "date", lambda value: value.isoformat(), lambda text: datetime.fromisoformat(text).date())
register_type(time, "time", lambda value: value.isoformat(), time.fromisoformat)
register_type(Decimal, "decimal", str, Decimal)
# kombu before 5.7 also sends the version; the digits hold it, and UUID() would refuse versions newer than this Python.
register_type(uuid.UUID, "uuid", lambda value: {"hex": value.hex}, lambda parts: uuid.UUID(hex=parts["hex"]))


def _encoder_for(value: object) -> Callable[[Any], object] | None:
    for cls in type(value).__mro__:
        if cls in type_encoders:
            return type_encoders[cls]
    # Abstract base classes and proxies are not in the list of bases.
    return next((encoder for cls, encoder in list(type_encoders.items()) if isinstance(value, cls)), None)


def _is_django_promise(value: object) -> bool:
    """Tell whether ``value`` is a lazily translated text; it cannot be one before Django was imported."""
    django = sys.modules.get("django.utils.functional")
    return django is not None and isinstance(value, django.Promise)


def _replacement(value: Any) -> object:
    """Return what JSON can carry instead of ``value``."""
    own = getattr(value, "__json__", None)
    if own is not None:
        return own()
    encoder = type_encoders.get(type(value)) or _encoder_for(value)
    if encoder is not None:
        return encoder(value)
    if _is_django_promise(value):
        return str(value)
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


# ------------------------------------------------------------------------------------------------ JSON: writing


def _encoder(**options: Any) -> Callable[[object], str]:
    """Return ``JSONEncoder(...).encode``, with what it makes anew for each value made once: a third of the time.

    The encoder does not look for circles: they end in a RecursionError, and the slow way then says where they are.
    Text that is not ASCII stays as it is, so that people can read it in SQL.
    """
    encoder = json.JSONEncoder(ensure_ascii=False, check_circular=False, separators=(",", ":"), **options)
    make = getattr(json.encoder, "c_make_encoder", None)
    text = getattr(json.encoder, "c_encode_basestring", None)
    if make is None or text is None:
        return encoder.encode
    pieces = make(None, encoder.default, text, None, ":", ",", False, False, encoder.allow_nan)
    return lambda value: "".join(pieces(value, 0))


_fast = _encoder(allow_nan=False, default=_replacement)
_lenient = _encoder()

_SURROGATE = re.compile("[\ud800-\udfff]")
# Python converts no more than 640 to 4,300 digits (a setting) between int and text; hexadecimal has no limit.
_INT_BITS = 2_000


def dumps(value: object) -> str:
    r"""Return ``value`` as compact JSON that PostgreSQL's ``json`` type accepts.

    Tuples become lists and keys become strings, as in Celery. ``\u0000`` and lone surrogates are kept, escaped.
    Raises TypeError for what JSON cannot carry and ValueError for circles and for nesting too deep; both say where.

    >>> dumps((1, date(2030, 1, 31)))
    '[1,{"__type__":"date","__value__":"2030-01-31"}]'
    """
    try:
        text = _fast(value)
    except (TypeError, ValueError, RecursionError):
        text = _dumps_slowly(value)
    return text if text.isascii() else _encodable(text)


def _encodable(text: str) -> str:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return _SURROGATE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
    return text


def _dumps_slowly(value: object) -> str:
    try:
        return _lenient(_plain(value, (), ()))
    except RecursionError:
        raise ValueError(f"{type(value).__name__} is nested too deeply for JSON") from None


def _plain(value: Any, path: Path, parents: tuple[int, ...]) -> object:
    """Rebuild ``value`` from what JSON knows, or raise an error that says where it cannot be done."""
    if value is None or isinstance(value, (str, float, int)):
        return _plain_scalar(value)
    if id(value) in parents:
        raise ValueError(f"Circular reference detected{_at(path)}")
    parents = (*parents, id(value))
    if isinstance(value, dict):
        return {_key(key, path): _plain(item, (*path, key), parents) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item, (*path, index), parents) for index, item in enumerate(value)]
    return _plain(_located_replacement(value, path), path, parents)


def _plain_scalar(value: Any) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return _marked("float", float.__repr__(value))
    if isinstance(value, int) and value.bit_length() > _INT_BITS:
        return _marked("int", hex(value))
    return value


def _key(key: object, path: Path) -> object:
    if key is None or isinstance(key, (str, float, int)):
        return key
    raise TypeError(f"keys must be str, int, float, bool or None, not {type(key).__name__}{_at(path)}")


def _located_replacement(value: object, path: Path) -> object:
    try:
        return _replacement(value)
    except TypeError as error:
        raise TypeError(f"{error}{_at(path)}") from error
    except ValueError as error:
        raise ValueError(f"{error}{_at(path)}") from error


def _at(path: Path) -> str:
    return ": at " + "".join(f"[{step!r}]" for step in path) if path else ""


# ------------------------------------------------------------------------------------------------ JSON: reading


def _revived(found: dict[str, Any]) -> object:
    """Return the object that ``found`` stands for; a dictionary that is no mark stands for itself."""
    if len(found) != 2 or "__value__" not in found or not isinstance(name := found.get("__type__"), str):
        return found
    decoder = type_decoders.get(name)
    if decoder is None:
        raise ValueError(f"unknown type {name!r} in JSON: make it known here with register_type, as where it was sent")
    try:
        return decoder(found["__value__"])
    except (TypeError, ValueError, ArithmeticError, LookupError, AttributeError) as error:
        raise ValueError(f"{name!r} in JSON has a value that cannot be read: {error!r}") from error


_read_plain = json.JSONDecoder().raw_decode
_read_marked = json.JSONDecoder(object_hook=_revived).raw_decode


def loads(text: str | Buffer) -> Any:
    """Return the value that ``dumps``, or kombu, wrote as ``text``; bytes are UTF-8.

    Raises ValueError for text that is not JSON, and for a ``__type__`` that is not registered in this process.

    >>> loads('[1,{"__type__":"date","__value__":"2030-01-31"}]')
    [1, datetime.date(2030, 1, 31)]
    """
    if not isinstance(text, str):
        text = str(text, "utf-8")
    text = text.strip(" \t\r\n")
    try:
        value, end = _read_marked(text) if '"__type__"' in text else _read_plain(text)
    except RecursionError:
        raise ValueError("JSON is nested too deeply to be read") from None
    if end != len(text):
        raise json.JSONDecodeError("Extra data", text, end)
    return value


# ------------------------------------------------------------------------------------------------ other serializers

Encoder = Callable[[Any], str | bytes]
Decoder = Callable[[Any], Any]


class Encoded(NamedTuple):
    """A value on its way: ``data`` is bytes when ``content_encoding`` is ``binary``, else text."""

    content_type: str
    content_encoding: str
    data: str | bytes


class _Serializer(NamedTuple):
    name: str
    encoder: Encoder | None
    decoder: Decoder | None
    content_type: str
    content_encoding: str


_serializers: dict[str, _Serializer] = {}
_by_content_type: dict[str, _Serializer] = {}


def register(
    name: str, encoder: Encoder | None, decoder: Decoder | None, content_type: str, content_encoding: str = "utf-8"
) -> None:
    """Make a serializer known, with the arguments of ``kombu.serialization.register``.

    With ``content_encoding="binary"`` the decoder is given bytes, otherwise text. None in place of a function means
    that this process does not encode, or does not decode. Decoding also needs ``name`` in ``accept_content``.

    >>> register("repr", repr, ast.literal_eval, "application/x-python-literal")
    """
    serializer = _Serializer(name, encoder, decoder, content_type, content_encoding.lower())
    _serializers[name] = _by_content_type[content_type] = serializer


def unregister(name: str) -> None:
    """Forget the serializer ``name``; raises ImproperlyConfigured if it is not known."""
    serializer = _known_serializer(name)
    del _serializers[name]
    if _by_content_type.get(serializer.content_type) is serializer:
        del _by_content_type[serializer.content_type]


def encode(value: object, serializer: str = "json") -> Encoded:
    """Encode ``value`` with the serializer of that name.

    Raises TypeError or ValueError for a value it cannot carry, ImproperlyConfigured for a name that is not known.

    >>> encode([1])
    Encoded(content_type='application/json', content_encoding='utf-8', data='[1]')
    """
    known = _known_serializer(serializer)
    if known.encoder is None:
        raise ImproperlyConfigured(f"serializer {serializer!r} can only decode here")
    try:
        data = known.encoder(value)
    except (TypeError, ValueError, ImproperlyConfigured, SoftTimeLimitExceeded):
        raise
    except Exception as error:
        raise ValueError(f"{serializer} cannot encode this {type(value).__name__}: {error!r}") from error
    return Encoded(known.content_type, known.content_encoding, _in_form(data, known.content_encoding))


def serializer_of(content_type: str | None) -> str | None:
    """Return the name of the serializer of a content type, None for an unknown one."""
    known = _by_content_type.get(content_type or "")
    return known.name if known is not None else None


def decode(data: str | Buffer, content_type: str, accept: Collection[str]) -> Any:
    """Decode what ``encode`` returned; ``accept`` names the serializers, or MIME types, that may be decoded.

    Raises SecurityError before ``data`` is touched when its type is not accepted, and ValueError when it is damaged.

    >>> decode("[1]", "application/json", accept={"json"})
    [1]
    """
    serializer = _by_content_type.get(content_type) or _of_kombu(content_type=content_type)
    if content_type not in accept and (serializer is None or serializer.name not in accept):
        raise _refusal(content_type, serializer, accept)
    if serializer is None or serializer.decoder is None:
        raise ImproperlyConfigured(f"no decoder for {content_type!r}: {_registration_hint()}")
    try:
        return serializer.decoder(_in_form(data, serializer.content_encoding))
    except (ImproperlyConfigured, SoftTimeLimitExceeded):
        raise
    except Exception as error:
        raise ValueError(f"{serializer.name} content cannot be decoded: {error!r}") from error


def _refusal(content_type: str, serializer: _Serializer | None, accept: Collection[str]) -> SecurityError:
    name = serializer.name if serializer else content_type
    allowed = ", ".join(sorted(accept)) or "nothing"
    return SecurityError(
        f"refused to decode {name!r} content ({content_type}): accept_content allows {allowed}. "
        f"Add {name!r} to the setting accept_content if everybody who can write to the database is trusted"
    )


def _known_serializer(name: str) -> _Serializer:
    known = _serializers.get(name) or _of_kombu(name=name)
    if known is None:
        raise ImproperlyConfigured(f"serializer {name!r} is not known: {_registration_hint()}")
    return known


def _of_kombu(*, name: str | None = None, content_type: str | None = None) -> _Serializer | None:
    """Return a serializer that was registered with kombu, if this process has imported that."""
    kombu = sys.modules.get("kombu.serialization")
    if kombu is None:
        return None
    registry = kombu.registry
    name = name or registry.type_to_name.get(content_type)
    content_type = registry.name_to_type.get(name)
    if name is None or content_type is None:
        return None
    encoding, encoder = "utf-8", None
    if (codec := registry._encoders.get(name)) is not None:
        content_type, encoding, encoder = codec
    return _Serializer(name, encoder, registry._decoders.get(content_type), content_type, encoding.lower())


def _registration_hint() -> str:
    return f"known are {', '.join(sorted(_serializers))}; add others with lavoro.serialization.register"


def _in_form(data: str | Buffer, content_encoding: str) -> str | bytes:
    """Return ``data`` as bytes or as text, whichever its serializer works with."""
    if content_encoding in ("binary", "ascii-8bit"):
        return data.encode("utf-8") if isinstance(data, str) else bytes(data)
    return data if isinstance(data, str) else str(data, content_encoding)


def _library(name: str) -> Any:
    """Import an optional library at its first use; both are named as Lavoro's extra that brings them."""
    try:
        return importlib.import_module(name)
    except ImportError:
        raise ImproperlyConfigured(f"serializer {name!r} needs a library: pip install 'lavoro[{name}]'") from None


register("json", dumps, loads, "application/json")
register("pickle", pickle.dumps, pickle.loads, "application/x-python-serialize", "binary")
register(
    "yaml",
    lambda value: _library("yaml").safe_dump(value),
    lambda text: _library("yaml").safe_load(text),
    "application/x-yaml",
)
register(
    "msgpack",
    lambda value: _library("msgpack").packb(value),
    lambda data: _library("msgpack").unpackb(data, strict_map_key=False),
    "application/x-msgpack",
    "binary",
)

# ------------------------------------------------------------------------------------------------ exceptions


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


_LONGEST_NAME = 1000


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


def _encoded_size(value: object) -> int | None:
    try:
        return len(dumps(value))
    except Exception:  # a __json__ method may raise anything
        return None


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

    A constructor may want other arguments than those that were stored: then it is passed by. What it would have set may
    be needed to print the exception: then a subclass prints the stored arguments instead.
    """
    makers = (lambda: cls(*args), lambda: cls.__new__(cls, *args), lambda: _printable(cls)(*args))
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


@functools.lru_cache(maxsize=1_000)
def _printable(cls: type[Any]) -> type[BaseException]:
    base = BaseException
    attributes = {"__init__": base.__init__, "__str__": base.__str__, "__repr__": base.__repr__}
    return type(cls.__name__, (cls,), _namespace(cls.__module__, cls.__qualname__, **attributes))


@functools.lru_cache(maxsize=1_000)
def _stand_in(module: str, qualname: str) -> type[Exception]:
    # type() refuses some characters in names; what comes from the database may hold any.
    name = re.sub(r"\W", "_", qualname.rpartition(".")[2]) or "Exception"
    return type(name, (Exception,), _namespace(module, qualname))
