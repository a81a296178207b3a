"""Writes stored schedules as text that defines them again: Python, JSON or SQL."""

from __future__ import annotations

import json
import pprint
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from lavoro import serialization
from lavoro.schedules.entry import SPELLINGS, Rules
from lavoro.store.entries import StoredSchedule
from lavoro.store.statements import render

_IMPORTS = {
    "datetime.": "import datetime", "Decimal(": "from decimal import Decimal", "UUID(": "from uuid import UUID",
}  # fmt: skip
_SPELLINGS = {column: key for key, column in SPELLINGS.items()}


def entry_from(stored: StoredSchedule) -> dict[str, Any]:
    """Return a schedule as an entry of ``beat_schedule``, without what is usual."""
    entry: dict[str, Any] = {"task": stored.task, "schedule": stored.timing}
    if stored.zone is not None:
        entry["tz"] = stored.zone
    entry |= {name: getattr(stored, name) for name in ("args", "kwargs", "options") if getattr(stored, name)}
    for name, usual in Rules()._asdict().items():
        value = getattr(stored, name)
        if value != usual:
            entry[_SPELLINGS.get(name, name)] = value.isoformat() if isinstance(value, datetime) else value
    return entry


def as_python(schedules: Sequence[StoredSchedule]) -> str:
    """Write the setting ``beat_schedule``."""
    entries = {stored.name: entry_from(stored) for stored in schedules}
    text = f"beat_schedule = {pprint.pformat(entries, sort_dicts=False, width=100)}"
    imports = [line for sign, line in _IMPORTS.items() if sign in text]
    return "\n".join([*imports, *[""] * bool(imports), text])


def as_json(schedules: Sequence[StoredSchedule]) -> str:
    """Write an object of entries by name, each of which may also be ``paused``."""
    entries = {
        stored.name: {**entry_from(stored), **({"paused": True} if stored.paused_at is not None else {})}
        for stored in schedules
    }
    return json.dumps(json.loads(serialization.dumps(entries)), indent=2, ensure_ascii=False)


def from_json(text: str) -> dict[str, dict[str, Any]]:
    """Read entries by name; raises ``ValueError`` for any other text."""
    found = serialization.loads(text)
    if not isinstance(found, Mapping) or not all(isinstance(entry, Mapping) for entry in found.values()):
        raise ValueError('it must be an object of entries by name: {"name": {"task": ..., "schedule": ...}}')
    return {str(name): dict(entry) for name, entry in found.items()}


def as_sql(schedules: Sequence[StoredSchedule], schema: str) -> str:
    """Write a statement for each, which changes a row of that name."""
    return "\n".join(_statement(stored, schema) for stored in schedules)


_COLUMNS = ("name", "task", "args", "kwargs", "options", "timing", "zone", *Rules._fields, "paused_at")


def _statement(stored: StoredSchedule, schema: str) -> str:
    usual = {**Rules()._asdict(), "zone": None, "paused_at": None, "args": [], "kwargs": {}, "options": {}}
    given = {name: getattr(stored, name) for name in _COLUMNS}
    kept = {name: value for name, value in given.items() if name not in usual or value != usual[name]}
    columns, values = ", ".join(kept), ", ".join(map(_literal, kept.values()))
    changes = ", ".join(f"{name} = {_literal(value)}" for name, value in given.items() if name != "name")
    table = render("{schema}.schedule", schema)
    return f"insert into {table} ({columns}) values ({values})\non conflict (name) do update set {changes};"  # noqa: S608


def _literal(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, (list, dict)):
        value = serialization.dumps(value)
    if isinstance(value, datetime):
        value = value.isoformat()
    if isinstance(value, (int, float)):
        return repr(value)
    escaped = str(value).replace("'", "''")
    return f"E'{escaped}'".replace("\\", "\\\\") if "\\" in escaped else f"'{escaped}'"
