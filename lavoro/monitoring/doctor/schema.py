"""Checks of the tables, functions and indexes, and of the encoding of their texts."""

from __future__ import annotations

from collections.abc import Iterator

from lavoro.monitoring.doctor.exam import Exam, Finding
from lavoro.store.schema.drift import differences
from lavoro.store.schema.migrate import UTF8_DATABASE, encoding_of, migrations, version_of
from lavoro.text.commands import command


def version(exam: Exam) -> Iterator[Finding]:
    """The version of the tables is that of this release."""
    found, latest = version_of(exam.tx), migrations()[-1][0]
    if found < latest:
        problem = f"is at version {found}, this release needs {latest}" if found else "has no tables of Lavoro's"
        yield Finding("schema", exam.tx.schema, problem, command("migrate"))
    elif found > latest:
        problem = f"is at version {found}, made by a later release than this one, which knows {latest}"
        yield Finding("schema", exam.tx.schema, problem, "pip install --upgrade lavoro")


def encoding(exam: Exam) -> Iterator[Finding]:
    """The encoding of the database holds every text."""
    name, encoding = encoding_of(exam.tx)
    if encoding != "UTF8":
        problem = f"has the encoding {encoding}: tasks with texts that it cannot hold are refused"
        repair = f"-- move to a database of another: {UTF8_DATABASE.replace('NAME', 'shop')};"
        yield Finding("encoding", name, problem, repair)


def drift(exam: Exam) -> Iterator[Finding]:
    """Tables, indexes and functions are as the migrations made them."""
    for difference in differences(exam.tx):
        yield Finding("schema", *difference)


def invalid_indexes(exam: Exam) -> Iterator[Finding]:
    """Every index is in use."""
    for index, table, partitioned in exam.rows("invalid_indexes"):
        yield Finding(
            "index", index, f"is invalid: {table} is searched without it, and writing may be slowed by it all the same",
            f"reindex index {'' if partitioned else 'concurrently '}{index};",
        )  # fmt: skip
