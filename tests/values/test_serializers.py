"""Other serializers than JSON work where both ends allow them, and nowhere else."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Iterator
from datetime import date
from types import SimpleNamespace
from typing import Any

import pytest

from lavoro.exceptions import (
    ImproperlyConfigured,
    SecurityError,
)
from lavoro.serialization import (
    Encoded,
    decode,
    dumps,
    encode,
    register,
    unregister,
)

ANY_SERIALIZER = {"json", "pickle", "yaml", "msgpack"}


def test_json_is_the_usual_serializer() -> None:
    assert encode([date(2030, 1, 1)]) == Encoded("application/json", "utf-8", dumps([date(2030, 1, 1)]))


@pytest.mark.parametrize("serializer", sorted(ANY_SERIALIZER))
def test_built_in_serializers_bring_values_back(serializer: str) -> None:
    if serializer in ("yaml", "msgpack"):
        pytest.importorskip(serializer)
    value = {"a": [1, 2.5, None, True, "é\0"], "nested": {"x": []}, "number": {1: 2} if serializer != "json" else {}}
    content_type, content_encoding, data = encode(value, serializer)
    assert isinstance(data, bytes if content_encoding == "binary" else str)
    stored = data if isinstance(data, bytes) else data.encode()
    for accept in (serializer, content_type):
        assert decode(data, content_type, {accept}) == value
        assert decode(memoryview(stored), content_type, {accept}) == value


@pytest.mark.parametrize(
    ("serializer", "content_type", "content_encoding"),
    [
        ("json", "application/json", "utf-8"),
        ("pickle", "application/x-python-serialize", "binary"),
        ("yaml", "application/x-yaml", "utf-8"),
        ("msgpack", "application/x-msgpack", "binary"),
    ],
)
def test_content_types_are_those_of_celery(serializer: str, content_type: str, content_encoding: str) -> None:
    if serializer in ("yaml", "msgpack"):
        pytest.importorskip(serializer)
    assert encode([], serializer)[:2] == (content_type, content_encoding)


class Bomb:
    """Its pickle says so when it is opened."""

    opened: list[str] = []  # noqa: RUF012 (the point is that it is shared)

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return Bomb.opened.append, ("boom",)


@pytest.mark.parametrize("accept", [{"json"}, {"application/json"}, ["json", "yaml"], ()])
def test_pickle_is_refused_unless_accepted(accept: Any) -> None:
    data = pickle.dumps(Bomb())
    with pytest.raises(SecurityError, match=r"refused to decode 'pickle' content.*accept_content"):
        decode(data, "application/x-python-serialize", accept)
    assert Bomb.opened == []


def test_what_accept_content_lacks_is_refused_even_if_it_is_json() -> None:
    with pytest.raises(SecurityError, match="'json'"):
        decode("[]", "application/json", {"pickle"})


def test_an_unknown_content_type_is_refused() -> None:
    with pytest.raises(SecurityError, match="application/x-ruby"):
        decode(b"", "application/x-ruby", ANY_SERIALIZER)
    with pytest.raises(ImproperlyConfigured, match="no decoder for 'application/x-ruby'"):
        decode(b"", "application/x-ruby", {"application/x-ruby"})


def test_an_unknown_serializer_is_named_with_those_known() -> None:
    with pytest.raises(ImproperlyConfigured, match=r"serializer 'xml' is not known: known are json, msgpack, pickle"):
        encode([], "xml")


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)
    for use in (lambda: encode([], "yaml"), lambda: decode("[]", "application/x-yaml", {"yaml"})):
        with pytest.raises(ImproperlyConfigured, match=r"pip install 'lavoro\[yaml\]'"):
            use()


def test_yaml_runs_no_code() -> None:
    pytest.importorskip("yaml")
    with pytest.raises(ValueError, match="yaml content cannot be decoded"):
        decode("!!python/object/apply:os.system ['true']", "application/x-yaml", {"yaml"})


@pytest.mark.parametrize("serializer", sorted(ANY_SERIALIZER))
def test_what_cannot_be_encoded_is_a_type_or_value_error(serializer: str) -> None:
    if serializer in ("yaml", "msgpack"):
        pytest.importorskip(serializer)
    with pytest.raises((TypeError, ValueError)):
        encode([lambda: None], serializer)


@pytest.mark.parametrize(
    ("content_type", "data"),
    [
        ("application/json", "["),
        ("application/x-python-serialize", b"junk"),
        ("application/x-yaml", "[}"),
        ("application/x-msgpack", b"\xc1"),
        ("application/json", b"\xff"),
    ],
)
def test_damaged_content_is_a_value_error(content_type: str, data: str | bytes) -> None:
    if content_type.endswith(("yaml", "msgpack")):
        pytest.importorskip(content_type.rpartition("-")[2])
    with pytest.raises(ValueError, match="content cannot be decoded"):
        decode(data, content_type, ANY_SERIALIZER)


@pytest.fixture
def reversed_text() -> Iterator[str]:
    """Register a serializer that stores a text backwards."""
    register("reversed", lambda text: text[::-1], lambda text: text[::-1], "application/x-reversed", "UTF-8")
    yield "reversed"
    unregister("reversed")


def test_a_registered_serializer_is_used(reversed_text: str) -> None:
    assert encode("öl", reversed_text) == Encoded("application/x-reversed", "utf-8", "lö")
    assert decode("lö".encode(), "application/x-reversed", {reversed_text}) == "öl"


def test_a_binary_serializer_works_with_bytes() -> None:
    register("hex", lambda value: value.hex(), lambda data: bytes.fromhex(data.decode()), "application/x-hex", "binary")
    assert encode(b"\1", "hex").data == b"01"
    assert decode("01", "application/x-hex", {"hex"}) == b"\1"
    unregister("hex")


def test_a_serializer_may_have_one_direction_only() -> None:
    register("out", repr, None, "application/x-out")
    register("in", None, str, "application/x-in")
    assert encode(1, "out").data == "1"
    with pytest.raises(ImproperlyConfigured, match="no decoder for 'application/x-out'"):
        decode("1", "application/x-out", {"out"})
    with pytest.raises(ImproperlyConfigured, match="serializer 'in' can only decode"):
        encode(1, "in")
    unregister("out")
    unregister("in")


def test_an_unregistered_serializer_is_unknown() -> None:
    register("gone", repr, str, "application/x-gone")
    unregister("gone")
    with pytest.raises(ImproperlyConfigured, match="'gone' is not known"):
        unregister("gone")
    with pytest.raises(SecurityError, match="application/x-gone"):
        decode("", "application/x-gone", {"gone"})


class Registry:
    """What kombu's registry is made of."""

    def __init__(self) -> None:
        self._encoders: dict[str, tuple[str, str, Any]] = {
            "reversed": ("application/x-reversed", "utf-8", lambda value: repr(value)[::-1]),
            "packed": ("application/x-packed", "BINARY", pickle.dumps),
        }
        self._decoders: dict[str, Any] = {
            "application/x-reversed": lambda text: text[::-1], "application/x-packed": pickle.loads
        }  # fmt: skip
        self.name_to_type = {"reversed": "application/x-reversed", "packed": "application/x-packed", "raw": "a/raw"}
        self.type_to_name = {type: name for name, type in self.name_to_type.items()}


def test_serializers_of_kombu_are_known_once_it_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ImproperlyConfigured, match="serializer 'reversed' is not known"):
        encode([1], "reversed")
    monkeypatch.setitem(sys.modules, "kombu.serialization", SimpleNamespace(registry=Registry()))
    assert encode([1], "reversed") == Encoded("application/x-reversed", "utf-8", "]1[")
    assert decode("]1[", "application/x-reversed", {"reversed"}) == "[1]"
    content_type, content_encoding, data = encode([1], "packed")
    assert (content_encoding, decode(data, content_type, {"application/x-packed"})) == ("binary", [1])
    with pytest.raises(SecurityError, match="refused to decode 'packed' content"):
        decode(data, content_type, {"json"})
    with pytest.raises(ImproperlyConfigured, match="serializer 'raw' can only decode here"):
        encode([1], "raw")
    with pytest.raises(ImproperlyConfigured, match="serializer 'other' is not known"):
        encode([1], "other")
    assert encode([1]).data == "[1]"  # ours go first
