"""Columns of a batch arrive in PostgreSQL as psycopg would have sent them."""

from __future__ import annotations

import datetime as dt
import math
import uuid
from collections.abc import Callable
from typing import Any

import pytest

from lavoro.store import arrays
from lavoro.store.tx import Tx
from tests.store.walk import rows, value

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc)
CASES: list[tuple[Callable[[Any], Any], str, list[Any]]] = [
    (arrays.uuids, "uuid[]", [uuid.UUID(int=0), uuid.UUID(int=2**128 - 1), uuid.UUID(int=0)]),
    (arrays.texts, "text[]", ["", "a", None, "ü🚚\n\"',{}\\", "a", "x" * 100_000]),
    (arrays.payloads, "bytea[]", [b"", None, b"\x00\xff", b"\x00\xff"]),
    (arrays.smallints, "int2[]", [0, -32768, 32767, None, 0]),
    (arrays.integers, "int4[]", [0, -(2**31), 2**31 - 1, None]),
    (arrays.reals, "float4[]", [0.0, None, -1.5, 2.0**100, math.inf]),
    (arrays.doubles, "float8[]", [0.0, None, -1e300, 3, math.inf, 3.0]),
    (
        arrays.times,
        "timestamptz[]",
        [EPOCH, None, EPOCH.replace(year=1), EPOCH.replace(year=9999, microsecond=999_999)],
    ),
]


@pytest.mark.parametrize(("make", "type", "values"), CASES, ids=[case[1] for case in CASES])
def test_values_arrive(tx: Tx, make: Callable[[Any], Any], type: str, values: list[Any]) -> None:
    for count in (1, 2, len(values)):
        for sent in (values[:count], tuple(values[:1] + values[-count:])):
            assert value(tx, f"select %s::{type}", make(sent)) == list(sent)


@pytest.mark.parametrize(("make", "type", "values"), CASES, ids=[case[1] for case in CASES])
def test_nothing_and_nulls_only(tx: Tx, make: Callable[[Any], Any], type: str, values: list[Any]) -> None:
    assert value(tx, f"select %s::{type}", make([])) == []
    if make is not arrays.uuids:
        found = rows(tx, f"select a, b from unnest('{{1,2,3}}'::int[], %s::{type}) as x (a, b)", make([None] * 3))
        assert found == [(1, None), (2, None), (3, None)]
