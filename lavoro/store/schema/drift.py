"""Finds differences between the tables in the database and those that this release describes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateColumn, CreateIndex, CreateTable

from lavoro.store.schema import roles
from lavoro.store.schema.tables import tables_of
from lavoro.store.statements import render
from lavoro.store.tx import Tx
from lavoro.text.commands import command


class Difference(NamedTuple):
    """One difference, and the SQL or the command that repairs it."""

    which: str
    problem: str
    repair: str


_DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]
_BY_MIGRATION = "-- run again what makes it, from lavoro/store/schema/migrations/0001_foundation.sql"

Column = tuple[str, bool]
"""Its type and whether it must not be null."""


def differences(tx: Tx) -> Iterator[Difference]:
    """Compare the connected database with ``tables.metadata``: tables, columns, indexes, functions, the view."""
    found: dict[str, dict[str, Column]] = {}
    for table, column, kind, required in tx.run("list_columns"):
        found.setdefault(table, {}).update({column: (kind, required)} if column else {})
    indexes = {row[0] for row in tx.run("list_indexes")}
    for table in tables_of(tx.schema).metadata.sorted_tables:
        if table.name not in found:
            yield Difference(_name(table), "does not exist", f"{_sql(CreateTable(table))};")
        else:
            yield from _columns(table, found.pop(table.name))
            yield from _indexes(table, indexes)
    for name in found:
        drop = render(f'drop table {{schema}}."{name}";', tx.schema)
        yield Difference(f"{tx.schema}.{name}", "is no table of Lavoro's", drop)
    yield from _functions(tx)


def _columns(table: sa.Table, found: dict[str, Column]) -> Iterator[Difference]:
    for column in table.columns:
        which, alter = f"{_name(table)}.{column.name}", f"alter table {_name(table)}"
        kind, required = _kind(column.type), not column.nullable
        if column.name not in found:
            yield Difference(which, "does not exist", f"{alter} add column {_sql(CreateColumn(column))};")
            continue
        is_kind, is_required = found[column.name]
        if is_kind != kind:
            repair = f"{alter} alter column {column.name} type {kind} using {column.name}::{kind};"
            yield Difference(which, f"is {is_kind}, not {kind}", repair)
        if is_required != required:
            words = "may be null" if required else "must not be null"
            repair = f"{alter} alter column {column.name} {'set' if required else 'drop'} not null;"
            yield Difference(which, f"{words}, against what this release expects", repair)
    for name in found.keys() - table.columns.keys():
        drop = f'alter table {_name(table)} drop column "{name}";'
        yield Difference(f"{_name(table)}.{name}", "is no column of Lavoro's", drop)


def _indexes(table: sa.Table, found: set[str]) -> Iterator[Difference]:
    for index in table.indexes:
        if index.name not in found:
            problem = "does not exist: statements read the whole table instead"
            yield Difference(f"{table.schema}.{index.name}", problem, f"{_sql(CreateIndex(index))};")
    keys = [column.name for column in table.primary_key.columns]
    if keys and f"{table.name}_pkey" not in found:
        repair = f"alter table {_name(table)} add primary key ({', '.join(keys)});"
        yield Difference(f"{table.schema}.{table.name}_pkey", "does not exist", repair)


def _kind(kind: sa.types.TypeEngine[object]) -> str:
    """Write a type as the server does: built-in names in lower case, the schema of a domain as it is."""
    text = str(kind.compile(dialect=_DIALECT))
    return text if isinstance(kind, postgresql.DOMAIN) else text.lower()


def _name(table: sa.Table) -> str:
    return str(_DIALECT.identifier_preparer.format_table(table))


def _functions(tx: Tx) -> Iterator[Difference]:
    found = {row[0] for row in tx.run("list_functions")}
    for name in roles.FUNCTIONS:
        if name not in found:
            yield Difference(f"{tx.schema}.{name}", "does not exist", command("migrate"))
    if "tasks" not in found:
        yield Difference(f"{tx.schema}.tasks", "does not exist", _BY_MIGRATION)


def _sql(statement: sa.schema.ExecutableDDLElement | CreateColumn) -> str:
    return " ".join(str(statement.compile(dialect=_DIALECT)).split())
