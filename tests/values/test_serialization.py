"""What goes through the serializers comes back the same, and what must not go through is refused with a reason."""

from __future__ import annotations

import enum
import json
import math
import sys
import uuid
from collections import OrderedDict, defaultdict
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from types import MappingProxyType, ModuleType
from typing import Any, NamedTuple

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lavoro.exceptions import (
    SoftTimeLimitExceeded,
)
from lavoro.serialization import (
    dumps,
    dumps_exception,
    encode,
    loads,
    register_type,
)
from lavoro.serialization import json as json_room

KATHMANDU = timezone(timedelta(hours=5, minutes=45))
LONG_NUMBER = 7**9_000  # 7,606 digits: more than Python converts to text

# What must look in SQL, and to a Celery worker, exactly like this.
FORMATS: list[tuple[object, str]] = [
    (None, "null"),
    (True, "true"),
    ([1, 2.5, "x"], '[1,2.5,"x"]'),
    ((1, (2, 3)), "[1,[2,3]]"),
    ({"a": {"b": []}}, '{"a":{"b":[]}}'),
    ({2: "int", None: "none", True: "bool", 1.5: "float"}, '{"2":"int","null":"none","true":"bool","1.5":"float"}'),
    (datetime(2030, 1, 31, 12, 5), '{"__type__":"datetime","__value__":"2030-01-31T12:05:00"}'),
    (
        datetime(2030, 1, 31, 12, 5, 0, 7, tzinfo=timezone.utc),
        '{"__type__":"datetime","__value__":"2030-01-31T12:05:00.000007+00:00"}',
    ),
    (datetime(2030, 1, 31, tzinfo=KATHMANDU), '{"__type__":"datetime","__value__":"2030-01-31T00:00:00+05:45"}'),
    (date(2030, 1, 31), '{"__type__":"date","__value__":"2030-01-31"}'),
    (time(12, 5, 59, 1), '{"__type__":"time","__value__":"12:05:59.000001"}'),
    (time(12, 5, tzinfo=KATHMANDU), '{"__type__":"time","__value__":"12:05:00+05:45"}'),
    (Decimal("1.10"), '{"__type__":"decimal","__value__":"1.10"}'),
    (
        uuid.UUID("01890a5d-ac96-774b-bcce-b302099a8057"),
        '{"__type__":"uuid","__value__":{"hex":"01890a5dac96774bbcceb302099a8057"}}',
    ),
    (b"plain", '{"__type__":"bytes","__value__":"plain"}'),
    ("é".encode(), '{"__type__":"bytes","__value__":"é"}'),
    (b"\xff\x00", '{"__type__":"base64","__value__":"/wA="}'),
    (math.inf, '{"__type__":"float","__value__":"inf"}'),
    (-math.inf, '{"__type__":"float","__value__":"-inf"}'),
    (math.nan, '{"__type__":"float","__value__":"nan"}'),
    ("日本 ñ 🐘", '"日本 ñ 🐘"'),
    ('nul \0, quote ", tab \t, del \x7f', '"nul \\u0000, quote \\", tab \\t, del \x7f"'),
    ("half \ud83d of é", '"half \\ud83d of é"'),
]


class Pair(NamedTuple):
    """A tuple with names."""

    left: int
    right: int


class Number(enum.IntEnum):
    """Numbers with names."""

    TWO = 2


class Word(str, enum.Enum):
    """Texts with names."""

    ONE = "x"


class Point:
    """A type that JSON can carry once it is registered."""

    def __init__(self, x: float, y: float) -> None:
        self.x, self.y = x, y

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Point) and (self.x, self.y) == (other.x, other.y)

    __hash__ = None  # type: ignore[assignment]


class Point3D(Point):
    """A subclass nobody registered."""


class Own:
    """A type that knows how it looks in JSON."""

    def __init__(self, value: object) -> None:
        self.value = value

    def __json__(self) -> object:
        return self.value


@pytest.fixture
def own_types(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the test register types without leaving them behind."""
    for name in ("type_encoders", "type_decoders"):
        monkeypatch.setattr(json_room, name, dict(getattr(json_room, name)))


@pytest.fixture
def point(own_types: None) -> None:
    """Register Point for the test."""
    register_type(Point, "point", lambda point: [point.x, point.y], lambda pair: Point(*pair))


# ------------------------------------------------------------------------------------------------ JSON: formats


@pytest.mark.parametrize(("value", "text"), FORMATS, ids=lambda item: repr(item)[:30])
def test_json_has_the_format_of_celery(value: object, text: str) -> None:
    assert dumps(value) == text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"__type__": "uuid", "__value__": {"hex": "' + "0" * 31 + '5", "version": null}}', uuid.UUID(int=5)),
        (
            '{"__type__": "uuid", "__value__": {"hex": "01890a5dac96774bbcceb302099a8057", "version": 7}}',
            uuid.UUID("01890a5d-ac96-774b-bcce-b302099a8057"),
        ),
        ('{"__type__": "date", "__value__": "2030-01-31T00:00:00"}', date(2030, 1, 31)),
        ("[NaN, Infinity, -Infinity]", [pytest.approx(math.nan, nan_ok=True), math.inf, -math.inf]),
        (" \r\n\t[1] \n", [1]),
        ('{"__type__":"date"}', {"__type__": "date"}),
        ('{"__type__":"date","__value__":1,"more":2}', {"__type__": "date", "__value__": 1, "more": 2}),
        ('{"__type__":["date"],"__value__":1}', {"__type__": ["date"], "__value__": 1}),
        ('["__type__"]', ["__type__"]),
    ],
)
def test_loads_reads_what_others_write(text: str, value: object) -> None:
    assert loads(text) == value


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_loads_takes_bytes(kind: Any) -> None:
    assert loads(kind('["é"]'.encode())) == ["é"]


@pytest.mark.parametrize(
    "value",
    [
        OrderedDict(a=1),
        defaultdict(int, a=1),
        Pair(1, 2),
        Number.TWO,
        Word.ONE,
    ],
)
def test_subclasses_of_what_json_knows_are_what_json_makes_of_them(value: object) -> None:
    assert dumps([value, 1]) == json.dumps([value, 1], separators=(",", ":"))
    assert loads(dumps([value, math.inf])) == [*json.loads(json.dumps([value])), math.inf]


def test_subclasses_of_marked_types_become_the_base() -> None:
    class Moment(datetime):
        pass

    class Name(bytes):
        pass

    assert loads(dumps([Moment(2030, 1, 1), Name(b"x")])) == [datetime(2030, 1, 1), b"x"]


# ------------------------------------------------------------------------------------------------ JSON: round trips

# Two halves of a pair, written apart, are one character to every JSON reader: only a lone half can survive.
texts = st.text() | st.text(st.characters(min_codepoint=0xD800, max_codepoint=0xDBFF)) | st.just("\0")
# Whole seconds: datetime.fromisoformat of some releases of Python loses an offset of microseconds.
offsets = st.integers(-23 * 3600, 23 * 3600).map(lambda seconds: timezone(timedelta(seconds=seconds)))
zones = st.none() | st.just(timezone.utc) | offsets
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=0).map(lambda number: -LONG_NUMBER - number)
    | st.floats()
    | texts
    | st.datetimes(timezones=zones)
    | st.dates()
    | st.times(timezones=zones)
    | st.decimals(allow_nan=False)
    | st.uuids()
    | st.binary()
    | texts.map(lambda text: text.encode("utf-8", "ignore"))
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4), max_leaves=12
)


def same(left: Any, right: Any) -> bool:
    """Compare values and types; NaN equals NaN."""
    if type(left) is not type(right):
        return False
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same, left, right))
    return bool(left == right) or (left != left and right != right)


@given(values)
def test_every_value_comes_back(value: object) -> None:
    text = dumps(value)
    assert same(loads(text), value)
    assert same(loads(text.encode()), value)


def refuse_constant(literal: str) -> None:
    raise AssertionError(f"{literal} is no JSON")


@given(values)
def test_the_text_is_strict_json(value: object) -> None:
    json.loads(dumps(value), parse_constant=refuse_constant)


@given(values)
def test_the_slow_way_writes_what_the_fast_way_writes(value: object) -> None:
    nan = dumps(math.nan)  # only the slow way can write it
    assert dumps([value, math.nan]) == f"[{dumps(value)},{nan}]"


def test_decimals_that_are_no_numbers_come_back() -> None:
    assert [str(number) for number in loads(dumps([Decimal("NaN"), Decimal("sNaN"), Decimal("-Infinity")]))] == [
        "NaN",
        "sNaN",
        "-Infinity",
    ]


def test_nan_is_found_everywhere() -> None:
    value = {"deep": [{"own": Own([math.nan, Own(math.inf)])}, (math.nan,)]}
    back = loads(dumps(value))
    assert math.isnan(back["deep"][0]["own"][0])
    assert back["deep"][0]["own"][1] == math.inf
    assert math.isnan(back["deep"][1][0])


def test_a_nan_as_key_becomes_a_text() -> None:
    assert loads(dumps({math.nan: 1})) == {"NaN": 1}


def test_the_two_halves_of_a_character_meet() -> None:
    assert loads(dumps("\ud83d\udc18")) == "🐘"


def test_postgresql_keeps_every_format(database_url: str) -> None:
    written = [dumps(value) for value, _ in FORMATS] + [dumps(LONG_NUMBER), dumps("\udfff\ud800"), dumps([[]] * 3)]
    with psycopg.connect(database_url) as connection:
        for text in written:
            assert connection.execute("select %s::json::text", [text]).fetchone() == (text,)


def test_postgresql_keeps_any_value(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:

        @given(values)
        def check(value: object) -> None:
            text = dumps(value)
            assert connection.execute("select %s::json::text", [text]).fetchone() == (text,)
            assert same(loads(text), value)

        check()


def test_postgresql_keeps_exceptions(database_url: str) -> None:
    text = dumps_exception(ValueError("nul \0", "half \ud800", math.nan, object, b"\xff"))
    with psycopg.connect(database_url) as connection:
        assert connection.execute("select %s::json::text", [text]).fetchone() == (text,)


def test_postgresql_takes_deep_nesting(database_url: str) -> None:
    value: list[Any] = []
    for _ in range(sys.getrecursionlimit() // 2):
        value = [value]
    with psycopg.connect(database_url) as connection:
        assert connection.execute("select %s::json::text", [dumps(value)]).fetchone() == (dumps(value),)


# ------------------------------------------------------------------------------------------------ JSON: refusals


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (object(), "Object of type object is not JSON serializable"),
        ([1, {2}], r"Object of type set is not JSON serializable: at \[1\]"),
        ([{"when": [timedelta(1)]}], r"Object of type timedelta is not JSON serializable: at \[0\]\['when'\]\[0\]"),
        ({"a": frozenset()}, r"Object of type frozenset is not JSON serializable: at \['a'\]"),
        ([1j], r"complex is not JSON serializable: at \[0\]"),
        ([bytearray()], r"bytearray is not JSON serializable: at \[0\]"),
        ([MappingProxyType({})], r"mappingproxy is not JSON serializable: at \[0\]"),
        ([Own([object()])], r"Object of type object is not JSON serializable: at \[0\]\[0\]"),
        ([{(1, 2): 3}], r"keys must be str, int, float, bool or None, not tuple: at \[0\]"),
        ({uuid.UUID(int=1): 3}, "keys must be str, int, float, bool or None, not UUID$"),
    ],
)
def test_what_json_cannot_carry_is_a_type_error_that_says_where(value: object, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        dumps(value)


def test_circles_are_found() -> None:
    circle: dict[str, Any] = {"list": [1]}
    circle["list"].append(circle)
    with pytest.raises(ValueError, match=r"Circular reference detected: at \['list'\]\[1\]"):
        dumps(circle)


def test_an_object_that_stands_for_itself_is_a_circle() -> None:
    own = Own(None)
    own.value = [own]
    with pytest.raises(ValueError, match=r"Circular reference detected: at \[0\]"):
        dumps(own)


def test_the_same_object_twice_is_no_circle() -> None:
    shared = [math.nan]
    assert dumps([shared, shared]).count("nan") == 2


def test_too_deep_nesting_is_a_value_error() -> None:
    value: list[Any] = []
    for _ in range(200_000):
        value = [value]
    with pytest.raises(ValueError, match="list is nested too deeply"):
        dumps(value)
    with pytest.raises(ValueError, match="nested too deeply"):
        loads("[" * 200_000)


def test_an_error_of_json_method_says_where() -> None:
    class Broken:
        def __json__(self) -> object:
            raise ValueError("no such colour")

    with pytest.raises(ValueError, match=r"no such colour: at \['x'\]") as caught:
        dumps({"x": Broken()})
    assert isinstance(caught.value.__cause__, ValueError)


def test_a_soft_time_limit_passes_through() -> None:
    class Slow:
        def __json__(self) -> object:
            raise SoftTimeLimitExceeded

    with pytest.raises(SoftTimeLimitExceeded):
        dumps([Slow()])
    with pytest.raises(SoftTimeLimitExceeded):
        encode([Slow()])


@pytest.mark.parametrize("text", ["", "[", "[1]]", "[1] x", "{'a':1}", b"\xff", "nul\0"])
def test_text_that_is_no_json_is_a_value_error(text: str | bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        loads(text)


def test_an_unknown_type_is_named() -> None:
    with pytest.raises(ValueError, match=r"unknown type 'money'.*register_type"):
        loads('[{"__type__":"money","__value__":"1 EUR"}]')


@pytest.mark.parametrize(
    ("name", "value"),
    [("date", "soon"), ("date", 3), ("decimal", "x"), ("decimal", {}), ("uuid", {}), ("bytes", 1), ("int", "zz")],
)
def test_a_damaged_value_is_a_value_error(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"'{name}' in JSON has a value that cannot be read"):
        loads(json.dumps([{"__type__": name, "__value__": value}]))


# ------------------------------------------------------------------------------------------------ JSON: more types


@pytest.mark.usefixtures("point")
def test_a_registered_type_comes_back() -> None:
    assert dumps(Point(1, 2)) == '{"__type__":"point","__value__":[1,2]}'
    assert loads(dumps({"here": [Point(1, 2)]})) == {"here": [Point(1, 2)]}
    assert loads(dumps(Point(1, math.inf))) == Point(1, math.inf)


@pytest.mark.usefixtures("point")
def test_subclasses_go_as_the_nearest_registered_class() -> None:
    assert loads(dumps(Point3D(1, 2))) == Point(1, 2)
    register_type(Point3D, "point3d", lambda point: [point.x, point.y, 0], lambda parts: Point3D(*parts[:2]))
    assert type(loads(dumps(Point3D(1, 2)))) is Point3D


@pytest.mark.usefixtures("own_types")
def test_a_type_without_a_name_is_only_converted() -> None:
    register_type(Point, None, lambda point: {"x": point.x, "y": point.y})
    assert loads(dumps([Point(1, 2)])) == [{"x": 1, "y": 2}]


@pytest.mark.usefixtures("own_types")
def test_an_abstract_type_can_be_registered() -> None:
    register_type(Mapping, "mapping", dict, dict)  # type: ignore[type-abstract]
    assert loads(dumps(MappingProxyType({"a": 1}))) == {"a": 1}


@pytest.mark.usefixtures("own_types")
def test_a_registered_type_can_be_replaced() -> None:
    register_type(Decimal, "decimal", lambda number: f"{number:.1f}", Decimal)
    assert loads(dumps(Decimal("1.25"))) == Decimal("1.2")


def test_json_method_comes_first() -> None:
    assert loads(dumps([Own({"a": date(2030, 1, 1)})])) == [{"a": date(2030, 1, 1)}]


def test_lazy_texts_of_django_are_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    class Promise:
        def __str__(self) -> str:
            return "translated"

    module = ModuleType("django.utils.functional")
    module.Promise = Promise  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "django.utils.functional", module)
    assert dumps([Promise()]) == '["translated"]'
