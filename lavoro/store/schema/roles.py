"""The rights of each role: what ``lavoro migrate --roles`` prints and ``lavoro doctor --role`` compares with."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from lavoro.exceptions import ImproperlyConfigured
from lavoro.store.database import Database
from lavoro.store.schema.tables import tables_of
from lavoro.store.statements import render
from lavoro.store.tx import Tx
from lavoro.text.commands import command
from lavoro.text.plural import counted

_SCRIPT = Path(__file__).parent / "roles.sql"
"""The SQL to print, with a place for the grants."""

ROLES = ("owner", "migrator", "producer", "worker", "readonly")
"""The owner has the tables, the migrator is a member of it; the others have the rights listed here and no more."""
LIMITED = ("producer", "worker", "readonly")

_INTERNAL = (
    "assign", "await_blockers", "barriers_above", "define_limits", "end_steps", "fail_held", "free_held",
    "join_barriers", "leave_places", "lock_barriers", "mark_ancestor", "mark_blockers", "places_above", "release",
    "replaced_by", "room_of", "same_limit", "stored_ancestors", "take_keys", "take_places", "told_error",
)  # fmt: skip
"""Functions that only others call, which run as the owner."""
_OF_WORKERS = (
    "admit", "count_members", "end_held", "end_task", "follow", "free_keys", "free_limits", "give_slots", "hand_on",
    "recount_limits", "reopen", "steps_behind", "take_slots",
)  # fmt: skip
FUNCTIONS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("enqueue", "is_awaited", "assign_task"), ("producer", "worker")),
    **dict.fromkeys(("store_canvas", "store_chord", "store_messages", "store_unique"), ("producer", "worker")),
    **dict.fromkeys(("make_partition", "drop_partition"), ("worker",)),
    **dict.fromkeys(_OF_WORKERS, ("worker",)),
    **dict.fromkeys(_INTERNAL, ()),
}
"""The roles that may call each function; no other may, because PUBLIC has no rights."""
TRIGGERS = ("define_schedule", "tell_schedules")
"""Functions of triggers, made by their migration: no role calls them."""

_WORKER = {
    "meta": "select",
    "tasks": "select",
    "finished": "select, insert, delete",
    "attempt": "select, insert",
    "queue": "select, insert, update",
    "revoked": "select, insert, delete",
    # Rows that came when there was no partition of their time are deleted one by one.
    **dict.fromkeys(("finished_success_rest", "finished_failure_rest", "attempt_rest"), "select, update, delete"),
}
_EVERYTHING = "select, insert, update, delete"
"""A worker's rights on the tables that are not listed."""

_SENT = "id, queue, priority, retries, due_at, expires_at, name, args, kwargs, options, payload"
_PRODUCER = {
    "meta": ("select",),
    # `on conflict (id)` and `returning` read these columns; they show that tasks wait, not which or with what.
    "waiting": (f"insert ({_SENT})", "select (id, queue, priority, due_at)"),
    # A repeat after a lost answer checks whether the task is stored already.
    "running": ("select (id)",),
    "held": ("select (id)",),
    "finished": ("select (id)",),
    # Code that sends events learns whether a monitor listens, and reads none.
    "event": ("insert", "select (id)"),
    # A sender may save which tasks its group has. To read that, it takes the rights to read results.
    "saved_group": ("insert", "select (id)", "update (form, saved_at)"),
}
_CLAIMED = ("waiting", "running", "finished", "attempt", "worker")
"""The tables that every worker needs."""
_ARGUMENTS = ("name", "args", "kwargs", "options", "payload")


class Right(NamedTuple):
    """One right on one table, function or schema."""

    privilege: str
    """In lower case, as in ``grant``: ``select``, ``execute``, ``usage``."""
    kind: str
    """table, function or schema."""
    name: str
    """Of the table or function; empty for the schema."""
    columns: tuple[str, ...] = ()
    """Only on these columns of the table; empty for all."""

    def on(self, schema: str) -> str:
        """Write the object of the right."""
        return f"{self.kind} {render('{schema}', schema)}" + (f".{self.name}" if self.name else "")

    @property
    def words(self) -> str:
        """Write the right itself, with its columns."""
        return self.privilege + (f" ({', '.join(self.columns)})" if self.columns else "")


def role_name(schema: str, role: str) -> str:
    """Return the name of a schema's role, quoted where SQL needs it."""
    name = f"{schema}_{role}"
    return name if re.fullmatch("[a-z0-9_]+", name) else f'"{name}"'


def rights(role: str) -> list[Right]:
    """List the rights of a producer, worker or readonly role."""
    found = [Right("usage", "schema", "")]
    found += [right for table, words in _on_tables(role) for right in _parsed(table, words)]
    return found + [Right("execute", "function", name) for name, roles in FUNCTIONS.items() if role in roles]


def _on_tables(role: str) -> Iterator[tuple[str, str]]:
    tables = [table.name for table in tables_of().metadata.sorted_tables] + ["tasks"]
    if role == "readonly":
        yield from ((table, "select") for table in tables)
    elif role == "worker":
        yield from {**dict.fromkeys(tables, _EVERYTHING), **_WORKER}.items()
    else:
        yield from ((table, words) for table, several in _PRODUCER.items() for words in several)


def _parsed(table: str, words: str) -> Iterator[Right]:
    privilege, parenthesis, columns = words.partition(" (")
    if parenthesis:
        yield Right(privilege, "table", table, tuple(columns.rstrip(")").split(", ")))
    else:
        yield from (Right(privilege, "table", table) for privilege in words.split(", "))


def excluded(role: str) -> list[Right]:
    """List rights that a role must not have, as far as they are worth a warning."""
    tables = [table.name for table in tables_of().metadata.sorted_tables]
    if role == "worker":
        return [Right("create", "schema", "")]
    if role == "readonly":
        writing = [Right(privilege, "table", name) for name in tables for privilege in ("insert", "update", "delete")]
        return [*writing, *(Right("execute", "function", name) for name in FUNCTIONS)]
    reading = [
        Right("select", "table", table, (column,))
        for table in ("waiting", "running", "finished")
        for column in _ARGUMENTS
    ]
    changing = [Right(privilege, "table", "waiting") for privilege in ("update", "delete")]
    return [*reading, Right("select", "table", "finished", ("result",)), *changing]


def held(tx: Tx, wanted: list[Right]) -> list[Right]:
    """Return those of the rights that the connected user has; there is none on a missing object."""
    return [right for right in wanted if _has(tx, right)]


def check_worker(database: Database) -> None:
    """Raise ImproperlyConfigured unless the connected user may claim and finish tasks: a retry would not help."""
    wanted = [right for right in rights("worker") if right.name in _CLAIMED]
    with database.tx() as tx:
        has = held(tx, wanted)
        [user] = tx.connection.execute("select current_user::text").fetchone() or [""]
    lacks = [right for right in wanted if right not in has]
    if lacks:
        more = f" and {counted(len(lacks) - 1, 'right')} more" if len(lacks) > 1 else ""
        raise ImproperlyConfigured(
            f"the database user {user!r} may not run tasks: it lacks {lacks[0].words} on"
            f" {lacks[0].on(database.schema)}{more}; `{command('doctor', '--role', 'worker')}` lists them"
        )


def _has(tx: Tx, right: Right) -> bool:
    parameters = {**right._asdict(), "columns": list(right.columns)}
    row = tx.row("has_right", {**parameters, "kind": "columns" if right.columns else right.kind})
    return bool(row and row[0])


# The printed SQL


def statements(schema: str) -> str:
    """Write the SQL that makes the roles and gives them their rights; it can be run again at any time."""
    names = {role: role_name(schema, role) for role in ROLES}
    texts = ", ".join(f"'{schema}_{role}'" for role in ROLES)
    limited = ", ".join(names[role] for role in LIMITED)
    grants: list[str] = []
    for role in LIMITED:
        grants.append(f"\n-- {role}: {_ABOUT[role]}")
        grants += _grants(rights(role), schema, names[role])
    script = render(_SCRIPT.read_text(encoding="utf-8"), schema)
    return script.format(**names, texts=texts, limited=limited, grants="\n".join(grants)).rstrip()


def _grants(given: list[Right], schema: str, name: str) -> Iterator[str]:
    """Write one statement for each thing that there are rights on."""
    for place in dict.fromkeys(right.on(schema) for right in given):
        words = ", ".join(right.words for right in given if right.on(schema) == place)
        yield f"grant {words} on {place} to {name};"


_ABOUT = {
    "producer": "sends tasks, from SQL and from Python, and reads no arguments or results",
    "worker": "claims, runs and finishes tasks, renews leases, applies retention; also for programs that revoke",
    "readonly": "reads everything, changes nothing: for results, status, dashboards",
}
