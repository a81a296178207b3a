"""The SQL files and the Python that runs them belong together: none is without the other."""

from __future__ import annotations

import ast
import re
import resource
from pathlib import Path

import psycopg
import pytest

import lavoro
from lavoro.monitoring.doctor import exam
from lavoro.store import tasks
from lavoro.store.schema import roles
from lavoro.store.schema.migrate import functions, migrations
from lavoro.store.statements import FOLDER, numbered, read, render, statement, without_comments
from lavoro.store.tx import Tx
from tests.store.walk import sent_and_taken, succeeded

NAMES = sorted(path.stem for path in FOLDER.glob("*.sql"))
QUERIES = sorted(path.stem for path in exam.FOLDER.glob("*.sql"))
"""Of the doctor."""
FILES = [pytest.param(path, id=path.stem) for path in sorted([*FOLDER.glob("*.sql"), *exam.FOLDER.glob("*.sql")])]
PACKAGE = Path(lavoro.__file__).parent


def names_in_python() -> set[str]:
    """The statements that the package names, each as a whole string."""
    constants = (
        node.value
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant)
    )
    return {value for value in constants if value in {*NAMES, *QUERIES}}


def names_that_are_run() -> set[str]:
    """The first argument of each `tx.run("...")`, `tx.row("...")` and `exam.rows("...")`."""
    calls = re.compile(r"\b(?:tx\.(?:run|row)|exam\.rows)\(\s*\"(\w+)\"")
    return {name for path in PACKAGE.rglob("*.py") for name in calls.findall(path.read_text())}


def test_every_file_is_used() -> None:
    assert {*NAMES, *QUERIES} - names_in_python() == set()


def test_every_name_in_python_is_a_file() -> None:
    assert names_that_are_run() - {*NAMES, *QUERIES} == set()


@pytest.mark.parametrize("file", FILES)
def test_a_file_says_first_what_it_promises_and_holds_one_statement(file: Path) -> None:
    text = file.read_text()
    assert re.match(r"-- [A-Z].*[a-z].*\n", text)
    assert ";" not in re.sub(r"'[^']*'|--.*", "", text)


@pytest.mark.parametrize("name", NAMES)
def test_comments_and_marks_do_not_reach_the_server(name: str) -> None:
    assert "--" not in statement(name)


@pytest.mark.parametrize("name", NAMES)
def test_what_looks_like_a_comment_is_in_no_literal(name: str) -> None:
    """The text before it has all its quotation marks in pairs."""
    for line in (FOLDER / f"{name}.sql").read_text().splitlines():
        code, dashes, _ = line.partition("--")
        assert not dashes or code.count("'") % 2 == 0, line


@pytest.mark.parametrize("name", NAMES)
def test_every_statement_can_be_prepared(tx: Tx, name: str) -> None:
    text, _ = numbered(name)
    assert b"%" not in text
    tx.connection.execute(b"prepare the_statement as " + text)


def test_the_short_ways_to_store_a_call_take_the_same_parameters_in_the_same_order() -> None:
    assert numbered("insert_task")[1] == numbered("insert_task_quietly")[1]


ALL_TEXTS = [statement(name, "order") for name in NAMES]
ALL_TEXTS += [render(text, "order") for _, _, text in migrations()]
ALL_TEXTS += [render(text, "order") for text in functions().values()]
ALL_TEXTS += [roles.statements("order")]
OF_THE_SERVER = {statement(name, "order") for name in ("end_session", "count_older_calls")}
ALL_NAMES = [*NAMES, *(name for _, name, _ in migrations()), *functions(), "roles"]


@pytest.mark.parametrize("text", ALL_TEXTS, ids=ALL_NAMES)
def test_for_another_schema_nothing_of_the_first_is_left(text: str) -> None:
    assert not re.search(r"lavoro(?!\.exceptions|_max_crashes)", re.sub("--.*", "", text))
    assert not re.search(r"\{\w+\}", text)
    assert "order" in text or text in OF_THE_SERVER


@pytest.mark.parametrize("name", QUERIES)
def test_queries_of_the_doctor_for_another_schema(name: str) -> None:
    text = without_comments(read(exam.FOLDER)[name])
    assert "lavoro" not in text
    assert "{" not in render(text, "order")


def test_render_replaces_what_is_marked_and_nothing_else() -> None:
    text = "select {schema}.enqueue('lavoro.tasks', 'lavoro_x', '{}', ' lavoro.exceptions', '{prefix}_wake')"
    expected = "select \"Shop-1\".enqueue('lavoro.tasks', 'lavoro_x', '{}', ' lavoro.exceptions', 'Shop-1_wake')"
    assert render(text, "Shop-1") == expected


def test_a_statement_is_read_once() -> None:
    assert statement("claim_tasks", "shop") is statement("claim_tasks", "shop")


def test_a_statement_without_a_file(tx: Tx) -> None:
    with pytest.raises(KeyError, match="no_such_statement"):
        tx.run("no_such_statement")


def test_types_of_parameters_are_known_without_values(tx: Tx) -> None:
    """`null` in place of any value must not change what a statement does: each parameter has a type of its own."""
    with pytest.raises(psycopg.errors.NotNullViolation):
        tx.run("insert_task", dict.fromkeys(re.findall(r"%\((\w+)\)s", (FOLDER / "insert_task.sql").read_text())))


def test_a_process_that_can_open_no_more_files_stores_its_outcomes(tx: Tx) -> None:
    job = sent_and_taken(tx)
    statement.cache_clear()
    files, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, most))  # all in use; poll() needs one
    try:
        with pytest.raises(OSError, match="Too many open files"):
            FOLDER.joinpath("finish_tasks.sql").read_text()
        assert tasks.finish(tx, 1, [succeeded(job)]) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, most))
