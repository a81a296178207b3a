"""Brings the schema to this release's version, forward only, under a lock."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from lavoro.exceptions import ImproperlyConfigured, SchemaOutdated
from lavoro.store.database import Database
from lavoro.store.errors import translated
from lavoro.store.schema import partitions
from lavoro.store.statements import render
from lavoro.store.tx import Tx
from lavoro.text.commands import command

FOLDER = Path(__file__).parent / "migrations"
FUNCTIONS = Path(__file__).parent / "functions"


def migrations() -> list[tuple[int, str, str]]:
    """List this release's migrations: number, name and SQL text, in order."""
    found = []
    for path in sorted(FOLDER.glob("*.sql")):
        number, _, name = path.stem.partition("_")
        found.append((int(number), name, path.read_text(encoding="utf-8")))
    return found


def functions() -> dict[str, str]:
    """Return the SQL text of each function of the schema by its name."""
    return {path.stem: path.read_text(encoding="utf-8") for path in sorted(FUNCTIONS.glob("*.sql"))}


def migrate(database: Database | str) -> list[str]:
    """Apply the migrations that are missing, replace the schema's functions, and return the migrations' names.

    Each migration runs in its own transaction under one lock: any number of processes may migrate at once, and one
    that is killed leaves nothing half done. The last one's transaction replaces the functions, missing or not.
    """
    if isinstance(database, str):
        database = Database(database)
    tx = database.open("lavoro-migrate", direct=True)
    try:
        with translated():
            _check_encoding(tx)
            applied = list(_apply_missing(tx))
            partitions.make_ahead(tx)
    finally:
        tx.connection.close()
    return applied


def _check_encoding(tx: Tx) -> None:
    name, encoding = encoding_of(tx)
    if encoding != "UTF8":
        raise ImproperlyConfigured(
            f"the database {name!r} has the encoding {encoding}, which cannot hold all texts:"
            f" make one with {UTF8_DATABASE}"
        )


UTF8_DATABASE = "create database NAME encoding 'UTF8' template template0"


def encoding_of(tx: Tx) -> tuple[str, str]:
    """Return the database's name and encoding."""
    row = tx.connection.execute("select current_database()::text, current_setting('server_encoding')").fetchone()
    assert row is not None
    return row[0], row[1]


def _apply_missing(tx: Tx) -> Iterator[str]:
    found = migrations()
    for number, name, text in found:
        with tx.connection.transaction():
            # Released by the commit, on whatever server connection a pooler may have lent us for the transaction.
            tx.connection.execute("select pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"{tx.schema}_migrate",))
            version = version_of(tx)
            if number > version:
                _apply(tx, number, name, text)
            if version <= number == found[-1][0]:  # a newer schema keeps its newer functions
                _replace_functions(tx)
        if number > version:
            yield f"{number:04} {name}"


def _apply(tx: Tx, number: int, name: str, text: str) -> None:
    _ensure_schema(tx)
    _act_as_owner(tx)
    tx.connection.execute(render(text, tx.schema).encode())
    insert = "insert into {schema}.meta (version, name) values (%s, %s)"
    tx.connection.execute(render(insert, tx.schema).encode(), (number, name))


def _replace_functions(tx: Tx) -> None:
    """Make all functions as this release has them; a user who may not act as their owner leaves them as they are.

    Such a user could apply no migration either, and has nothing to do where the schema is up to date.
    """
    _act_as_owner(tx)
    texts = functions()
    owned = tx.connection.execute(
        "select coalesce(bool_and(pg_has_role(p.proowner, 'usage')), true)"
        " from pg_proc p join pg_namespace n on n.oid = p.pronamespace where n.nspname = %s and p.proname = any (%s)",
        (tx.schema, list(texts)),
    ).fetchone()
    if owned and owned[0]:
        for text in texts.values():
            tx.connection.execute(render(text, tx.schema).encode())


def _ensure_schema(tx: Tx) -> None:
    """Make the schema unless it exists: `create schema if not exists` needs a right that few users have."""
    if not tx.connection.execute("select from pg_namespace where nspname = %s", (tx.schema,)).fetchall():
        tx.connection.execute(render("create schema {schema}", tx.schema).encode())


def _act_as_owner(tx: Tx) -> None:
    """Make the schema's owner the owner of all objects of this transaction, if the user is a member of it."""
    tx.connection.execute(
        "select set_config('role', pg_get_userbyid(nspowner), true) from pg_namespace"
        " where nspname = %s and pg_has_role(nspowner, 'member')",
        (tx.schema,),
    )


def version_of(tx: Tx) -> int:
    """Return the schema's version, 0 where there is none."""
    found = tx.connection.execute("select to_regclass(%s)", (render("{schema}.meta", tx.schema),)).fetchone()
    if not found or found[0] is None:
        return 0
    row = tx.connection.execute(render("select max(version) from {schema}.meta", tx.schema).encode()).fetchone()
    return (row and row[0]) or 0


def check(database: Database) -> None:
    """Raise ``SchemaOutdated`` unless the schema is this release's."""
    latest = migrations()[-1][0]
    with database.tx() as tx:
        version = version_of(tx)
    if version < latest:
        outdated = f"is at version {version}, this release needs {latest}"
        state = outdated if version else "has no tables of Lavoro's"
        raise SchemaOutdated(f"schema {database.schema!r} {state}: run `{command('migrate')}`")
