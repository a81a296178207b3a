"""Finds what is wrong with schedules before a deploy: entries of code, and rows of the database beside them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from lavoro.beat.entries import check_call, entries_of, row_of
from lavoro.beat.nominal import schedule_as_stored
from lavoro.beat.owner import owner_of
from lavoro.config import spelling
from lavoro.exceptions import ScheduleError
from lavoro.schedules.entry import Entry
from lavoro.store import entries as store
from lavoro.store.entries import StoredSchedule
from lavoro.store.schedules import Row
from lavoro.store.tx import Tx
from lavoro.text.commands import command


class Fault(NamedTuple):
    """Something wrong with one schedule, with what to do."""

    name: str
    place: str
    """``code`` or ``database``."""
    problem: str


def faults_of_code(app: Any) -> Iterator[Fault]:
    """Yield the entries of an application's code that cannot be used, or whose tasks cannot be called so."""
    found = entries_of(app)
    for name, error in found.wrong.items():
        yield Fault(name, "code", error)
    for entry in found.usable.values():
        if not _known(app, entry.task):
            yield Fault(entry.name, "code", _unknown(app, entry.task))
        else:
            try:
                check_call(entry, app)
            except ValueError as error:
                yield Fault(entry.name, "code", str(error))


def faults_of_database(app: Any, tx: Tx) -> Iterator[Fault]:
    """Yield the schedules of the database that cannot go on, or that code defines in another way."""
    entries, owner = entries_of(app).usable, owner_of(app)
    problems = {problem.name: problem for problem in store.problems(tx, limit=None)}
    for stored in store.listed(tx, None):
        try:
            if not stored.in_code:
                schedule_as_stored(app, stored, None)
        except ScheduleError as error:
            yield Fault(stored.name, "database", str(error))
            continue
        if stored.name in problems:
            yield Fault(stored.name, "database", f"{problems[stored.name].words}")
        elif stored.app == owner and not _known(app, stored.task) and stored.origin != "code":
            yield Fault(stored.name, "database", _unknown(app, stored.task))
        if stored.name in entries:
            yield from _defined_twice(app, stored, entries[stored.name], owner)


def _known(app: Any, task: str) -> bool:
    return task in app.tasks or task.startswith("celery.")


def _unknown(app: Any, task: str) -> str:
    near = spelling.nearest(task, frozenset(app.tasks))
    hint = f"did you mean {near!r}?" if near else "import its module, or correct the name"
    return f"the application has no task {task!r}: {hint}"


def _defined_twice(app: Any, stored: StoredSchedule, entry: Entry, owner: str) -> Iterator[Fault]:
    if stored.origin == "code":
        if stored.app != owner:
            problem = f"the application {stored.app!r} defines it, too, and each start changes it: name one otherwise"
            yield Fault(stored.name, "database", problem)
        return
    differ = differences(row_of(entry, app), stored)
    how = f"in another way ({'; '.join(differ)})" if differ else "in the same way"
    by = "by app.schedules or the command line" if stored.origin == "api" else "in SQL"
    delete = command("schedule", "delete", stored.name)
    problem = f"code and a row defined {by} have this name, {how}: the row holds until it is deleted, `{delete}`"
    yield Fault(stored.name, "database", problem)


def differences(row: Row, stored: StoredSchedule) -> list[str]:
    """Return the parts in which a definition of code differs from a stored one, each with both values."""
    code = {**row._asdict(), **store.decoded(row.args, row.kwargs, row.options)._asdict()}
    return [
        f"{name}: {code[name]!r} in code, {getattr(stored, name)!r} in the database"
        for name in Row._fields
        if code[name] != getattr(stored, name)
    ]
