"""Migrations: from nothing to what the tables say, by any number of processes, killed or not."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from lavoro.config.settings import Settings
from lavoro.exceptions import ImproperlyConfigured, OperationalError, SchemaOutdated
from lavoro.store.database import Database
from lavoro.store.schema import migrate as migrating
from lavoro.store.schema.migrate import check, migrate, migrations, version_of
from lavoro.store.schema.partitions import partitions_of
from lavoro.store.schema.tables import Tables
from lavoro.store.statements import check_schema
from lavoro.text import commands
from tests.postgres import Cluster

PROGRAM = "import sys; from lavoro.store.schema.migrate import migrate; print(migrate(sys.argv[1]))"
Wait = Callable[..., None]
Start = Callable[[], subprocess.Popen[str]]
ALL = [f"{number:04} {name}" for number, name, _ in migrations()]
LATEST = migrations()[-1][0]


@pytest.fixture
def connection(database_url: str) -> Iterator[psycopg.Connection]:
    """A connection to the database that is not migrated yet."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def start(database_url: str) -> Iterator[Start]:
    """Start processes that migrate the database, and let none live longer than the test."""
    with ExitStack() as stack:

        def start() -> subprocess.Popen[str]:
            process = subprocess.Popen([sys.executable, "-c", PROGRAM, database_url], stdout=subprocess.PIPE, text=True)
            stack.enter_context(process)
            stack.callback(process.kill)
            return process

        yield start


# What is made


def catalog(connection: psycopg.Connection, schema: str) -> dict[str, set[tuple[Any, ...]]]:
    """Columns, indexes and constraints of a schema without its partitions, free of the schema's name."""
    tables = "join pg_class c on c.oid = {} join pg_namespace n on n.oid = c.relnamespace and n.nspname = %s"
    tables += " where c.relkind in ('r', 'p') and not c.relispartition"
    columns = f"""
        select c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity,
            pg_get_expr(d.adbin, d.adrelid)
        from pg_attribute a left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
        {tables.format("a.attrelid")} and a.attnum > 0 and not a.attisdropped"""
    indexes = f"""
        select replace(pg_get_indexdef(i.indexrelid), ' ON ONLY ', ' ON ')
        from pg_index i {tables.format("i.indrelid")}"""
    constraints = f"""
        select c.relname, pg_get_constraintdef(o.oid)
        from pg_constraint o {tables.format("o.conrelid")} and o.contype <> 'n'"""
    found = {"columns": columns, "indexes": indexes, "constraints": constraints}
    return {
        name: {
            tuple(str(part).replace(f"{schema}.", "") for part in row)
            for row in connection.execute(query.encode(), [schema])
        }
        for name, query in found.items()
    }


def test_migrations_from_nothing_make_what_the_tables_say(database_url: str, connection: psycopg.Connection) -> None:
    assert migrate(database_url) == ALL
    metadata = Tables("twin").metadata
    engine = sa.create_engine(database_url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.begin() as twin:
        twin.execute(sa.schema.CreateSchema("twin"))
        metadata.create_all(twin)
    engine.dispose()
    made, told = catalog(connection, "lavoro"), catalog(connection, "twin")
    for kind in made:
        assert made[kind] == told[kind], kind
    assert len(made["columns"]) == sum(len(table.columns) for table in metadata.tables.values())


def test_the_version_is_recorded(database_url: str, connection: psycopg.Connection) -> None:
    migrate(database_url)
    rows = connection.execute("select version, name from lavoro.meta order by version").fetchall()
    assert [f"{version:04} {name}" for version, name in rows] == ALL


def test_partitions_are_there_from_the_beginning(database_url: str) -> None:
    migrate(database_url)
    database = Database(database_url)
    tx = database.open("lavoro-test")
    for table in ("finished_success", "finished_failure", "attempt"):
        assert partitions_of(tx, table)
    tx.connection.close()


def test_a_second_time_nothing_is_left_to_do(database_url: str) -> None:
    assert migrate(database_url) == ALL
    assert migrate(Database(database_url)) == []


def test_numbers_go_up_by_one() -> None:
    assert [number for number, _, _ in migrations()] == list(range(1, len(migrations()) + 1))


def test_new_migrations_follow_and_one_that_fails_leaves_nothing(
    database_url: str, connection: psycopg.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrate(database_url)
    for path in migrating.FOLDER.glob("*.sql"):
        (tmp_path / path.name).write_text(path.read_text())
    (tmp_path / f"{LATEST + 1:04}_more.sql").write_text(
        "create table lavoro.more (id int); insert into lavoro.more values (1);"
    )
    broken = tmp_path / f"{LATEST + 2:04}_broken.sql"
    broken.write_text("create table lavoro.half (id int); select 1 / 0;")
    monkeypatch.setattr(migrating, "FOLDER", tmp_path)
    database = Database(database_url)
    with pytest.raises(SchemaOutdated, match=f"is at version {LATEST}, this release needs {LATEST + 2}"):
        check(database)
    with pytest.raises(OperationalError, match="division by zero"):
        migrate(database_url)
    [[version, half]] = connection.execute("select max(version), to_regclass('lavoro.half') from lavoro.meta")
    assert (version, half) == (LATEST + 1, None)
    broken.write_text("create table lavoro.half (id int)")
    assert migrate(database_url) == [f"{LATEST + 2:04} broken"]
    check(database)
    database.dispose()


# Who makes it


def test_eight_processes_at_once(start: Start, connection: psycopg.Connection, until_it_waits: Wait) -> None:
    with connection.transaction():
        connection.execute("select pg_advisory_xact_lock(hashtextextended('lavoro_migrate', 0))")
        processes = [start() for _ in range(8)]
        until_it_waits("lavoro-migrate", count=8)
    answers = [json.loads(process.communicate(timeout=60)[0].replace("'", '"')) for process in processes]
    assert sorted(name for applied in answers for name in applied) == ALL
    assert [process.returncode for process in processes] == [0] * 8


def test_killed_in_the_middle_and_run_again(
    start: Start, database_url: str, connection: psycopg.Connection, until_it_waits: Wait
) -> None:
    connection.execute("create schema lavoro")
    with connection.transaction(force_rollback=True):
        connection.execute("create table lavoro.worker (id int)")  # the migration must wait for the end of this one
        process = start()
        until_it_waits("lavoro-migrate")
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
    assert migrate(database_url) == ALL
    database = Database(database_url)
    check(database)
    database.dispose()


def test_a_user_who_may_not_make_schemas_can_use_one_that_was_made_for_him(cluster: Any, database_url: str) -> None:
    name = database_url.rpartition("/")[2]
    cluster.execute("create schema lavoro authorization guarded", dbname=name)
    assert migrate(cluster.guarded_url(name)) == ALL


def test_a_schema_of_another_name(database_url: str, connection: psycopg.Connection) -> None:
    database = Database(database_url, schema="order")
    assert migrate(database) == ALL
    assert migrate(database) == []
    check(database)
    [[lavoro]] = connection.execute("select to_regnamespace('lavoro')")
    assert lavoro is None
    assert migrate(database_url) == ALL
    database.dispose()


@pytest.mark.parametrize("schema", ["", "with space", "x" * 41, "pg_x", "1st", "-x", 'a"b', "a'b", "a.b", "a{b}", "é"])
def test_what_is_no_name_for_a_schema(schema: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="lavoro_schema must be 1 to 40 of A-Z, a-z"):
        Database("postgresql://localhost/x", schema=schema)


# Checking


def test_check_says_what_is_missing_and_what_to_do(database_url: str) -> None:
    commands.name_app("yourapp")
    database = Database(database_url)
    with pytest.raises(SchemaOutdated) as caught:
        check(database)
    assert str(caught.value) == "schema 'lavoro' has no tables of Lavoro's: run `lavoro migrate -A yourapp`"
    migrate(database)
    check(database)
    tx = database.open("lavoro-test")
    assert version_of(tx) == LATEST
    tx.connection.close()
    database.dispose()


def test_a_database_that_cannot_be_reached() -> None:
    with pytest.raises(OperationalError, match="cannot connect to postgresql://nobody@127.0.0.1:1/x: "):
        migrate("postgresql://nobody@127.0.0.1:1/x")


@pytest.mark.parametrize("schema", ["a" * 40, "a" * 41, "a" * 48, "pg_a"])
def test_the_settings_and_the_database_have_one_rule_for_a_schema(schema: str) -> None:
    def complaint(check: Callable[[], object]) -> str | None:
        try:
            check()
        except ImproperlyConfigured as error:
            return str(error)
        return None

    refused = complaint(Settings(pending=[lambda: {"lavoro_schema": schema}]).check)
    assert complaint(lambda: check_schema(schema)) == refused
    assert (refused is None) == (schema == "a" * 40)


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_a_database_that_cannot_hold_all_texts_is_refused(cluster: Cluster, encoding: str) -> None:
    cluster.execute(f"create database narrow encoding '{encoding}' lc_collate 'C' lc_ctype 'C' template template0")
    try:
        with pytest.raises(ImproperlyConfigured, match=f"'narrow' has the encoding {encoding}"):
            migrate(cluster.url("narrow"))
    finally:
        cluster.drop_database("narrow")
