"""The schema's functions: one a file, replaced at every `migrate`, with names and rights that statements rely on."""

from __future__ import annotations

import re
from collections.abc import Iterator

import psycopg
import pytest

from lavoro.store.database import Database
from lavoro.store.schema import roles
from lavoro.store.schema.migrate import FUNCTIONS, functions, migrate, migrations, version_of

TEXTS = functions()
PUBLIC = {"enqueue"}
"""Called from SQL by people, with the names of its parameters; it is in SQL, where columns do not hide them."""
SOURCES = """
    select p.proname, pg_get_functiondef(p.oid), p.proacl::text from pg_proc p
    where p.pronamespace = 'lavoro'::regnamespace order by 1"""
ANOTHER = """
    create or replace function lavoro.is_awaited(p_key text) returns boolean language sql as 'select null::boolean'"""


@pytest.fixture
def connection(migrated_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(migrated_url, autocommit=True) as connection:
        yield connection


def test_each_function_has_its_file_and_each_its_roles() -> None:
    assert set(TEXTS) == set(roles.FUNCTIONS) == {path.stem for path in FUNCTIONS.iterdir()}


@pytest.mark.parametrize("name", TEXTS)
def test_a_file_says_first_what_it_promises_and_holds_one_function_that_the_public_may_not_call(name: str) -> None:
    text = TEXTS[name]
    assert re.match(r"-- [A-Z].*[a-z].*\n", text)
    assert re.findall(r"(?m)^(create.*?function .*?)\(", text) == [f"create or replace function {{schema}}.{name}"]
    assert text.endswith(f"\n\nrevoke all on function {{schema}}.{name} from public;\n")


@pytest.mark.parametrize("name", sorted(set(TEXTS) - PUBLIC))
def test_parameters_are_named_as_no_column_is(connection: psycopg.Connection, name: str) -> None:
    query = "select proargnames from pg_proc where pronamespace = 'lavoro'::regnamespace and proname = %s"
    [[names]] = connection.execute(query, [name]).fetchall()
    assert [parameter for parameter in names or () if not parameter.startswith("p_")] == []
    assert "#variable_conflict" not in TEXTS[name]


def test_migrate_replaces_a_function_and_keeps_its_rights(connection: psycopg.Connection, migrated_url: str) -> None:
    connection.execute("create role caller")
    try:
        connection.execute("grant execute on function lavoro.is_awaited to caller")
        right = connection.execute(SOURCES).fetchall()
        connection.execute(ANOTHER)
        assert connection.execute(SOURCES).fetchall() != right
        assert migrate(migrated_url) == []
        assert connection.execute(SOURCES).fetchall() == right
        assert any("caller=X" in rights for _, _, rights in right)
    finally:
        connection.execute("drop owned by caller; drop role caller")


def test_a_newer_schema_keeps_its_functions(connection: psycopg.Connection, migrated_url: str) -> None:
    connection.execute(ANOTHER)
    newer = connection.execute(SOURCES).fetchall()
    connection.execute("insert into lavoro.meta (version, name) values (%s, 'newer')", [migrations()[-1][0] + 1])
    assert migrate(migrated_url) == []
    assert connection.execute(SOURCES).fetchall() == newer


def test_a_function_that_fails_leaves_the_last_migration_undone(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else workers would find a schema of their version without its functions."""
    monkeypatch.setitem(TEXTS, "enqueue", "select 1 / 0")
    monkeypatch.setattr("lavoro.store.schema.migrate.functions", lambda: TEXTS)
    with pytest.raises(Exception, match="division by zero"):
        migrate(database_url)
    with Database(database_url).tx() as tx:
        assert version_of(tx) == migrations()[-1][0] - 1
