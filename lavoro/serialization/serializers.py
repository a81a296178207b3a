"""The serializers by name and content type; ``accept`` names those that may be decoded."""

from __future__ import annotations

import importlib
import pickle
import sys
from collections.abc import Callable, Collection
from typing import Any, NamedTuple

from lavoro.exceptions import ImproperlyConfigured, SecurityError, SoftTimeLimitExceeded
from lavoro.serialization.json import dumps, loads

Buffer = bytes | bytearray | memoryview
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
