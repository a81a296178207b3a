"""JSON that PostgreSQL can store, with the types that JSON lacks.

Such types travel as ``{"__type__": name, "__value__": value}``, in the formats of kombu: ``datetime``, ``date``,
``time``, ``decimal``, ``uuid``, ``bytes``, ``base64``. Two names are Lavoro's own, for what kombu cannot send through
a ``json`` column: ``float`` (NaN and the infinities) and ``int`` (thousands of digits).
"""

from __future__ import annotations

import base64
import json
import math
import re
import sys
import uuid
from collections.abc import Callable
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, TypeVar

T = TypeVar("T")
E = TypeVar("E")
Path = tuple[object, ...]

# Types that JSON lacks


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


# Writing


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


# Reading


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


def loads(text: str | bytes | bytearray | memoryview) -> Any:
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
