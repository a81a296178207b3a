"""The entries that the code of an application defines, and their rows."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, NamedTuple

from lavoro import serialization
from lavoro.beat.choosing import own_of
from lavoro.beat.owner import owner_of
from lavoro.schedules.entry import BeatLazyFunc, Entry, entry_of
from lavoro.schedules.texts import timing_of
from lavoro.store import schedules
from lavoro.store.schedules import Defined, Row
from lavoro.store.tx import Tx

logger = logging.getLogger("lavoro.beat")


class Entries(NamedTuple):
    """The entries of an application by their names, and the errors of those that cannot be used."""

    usable: dict[str, Entry]
    wrong: dict[str, str]


def entries_of(app: Any) -> Entries:
    """Read the setting ``beat_schedule``, which all entries of code are in; with a scheduler class they are its own."""
    usable: dict[str, Entry] = {}
    wrong: dict[str, str] = {}
    if own_of(app) is not None:
        return Entries(usable, wrong)
    for name, given in app.conf.beat_schedule.items():
        try:
            if not isinstance(given, Mapping):
                raise ValueError(f"the schedule {name!r} must be a dict, not {given!r}")
            entry = entry_of(str(name), given, app)
            row_of(entry, app)
            usable[str(name)] = entry
        except Exception as error:
            wrong[str(name)] = str(error)
    return Entries(usable, wrong)


def row_of(entry: Entry, app: Any) -> Row:
    """Return an entry as its row; raises ``ValueError`` for arguments or options that no message can carry."""
    timing = timing_of(entry.schedule)
    lazy = any(isinstance(value, BeatLazyFunc) for value in (*entry.args, *entry.kwargs.values()))
    texts: tuple[str | None, str | None, str | None] = (None, None, None)
    in_code = timing is None or lazy
    if not lazy:
        try:
            texts = (_text(list(entry.args)), _text(dict(entry.kwargs)), _text(dict(entry.options)))
        except (TypeError, ValueError) as error:
            if _serializer(entry, app) == "json":
                raise ValueError(f"the schedule {entry.name!r}: its arguments cannot be encoded: {error}") from error
            in_code = True
    text, zone = timing if timing is not None else (str(entry.schedule), None)
    return Row(entry.name, entry.task, *texts, text, zone, in_code, **entry.rules._asdict())


def check_call(entry: Entry, app: Any) -> None:
    """Raise ``ValueError`` for arguments that the task does not take, if the application knows the task."""
    rules = getattr(app.tasks.get(entry.task), "__arguments__", None)
    if rules is not None:
        try:
            rules.check(tuple(entry.args), entry.kwargs)
        except TypeError as error:
            raise ValueError(f"the schedule {entry.name!r} calls its task wrongly: {error}") from error


def _text(value: Any) -> str | None:
    return serialization.dumps(value) if value else None


def _serializer(entry: Entry, app: Any) -> str:
    task = app.tasks.get(entry.task)
    return str(entry.options.get("serializer") or getattr(task, "serializer", None) or app.conf.task_serializer)


def synchronise(app: Any, tx: Tx) -> Defined:
    """Store the entries of an application's code; those that did not change keep their state."""
    entries = entries_of(app)
    rows = [row_of(entry, app) for entry in entries.usable.values()]
    defined = schedules.define(tx, owner_of(app), rows, kept=[*entries.usable, *entries.wrong])
    for error in entries.wrong.values():
        logger.error("%s", error)
    for word, names in defined._asdict().items():
        if names:
            word = {"ceded": "left to the scheduler class of another process"}.get(word, word)
            logger.info("schedules %s: %s", word, ", ".join(names))
    return defined
