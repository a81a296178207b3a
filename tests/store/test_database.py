"""Connections: URLs as people write them, the callers' own, the pool's, and what becomes of lost ones."""

from __future__ import annotations

import gc
import re
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote, unquote

import psycopg
import pytest
import sqlalchemy as sa
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import dict_row
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from lavoro.exceptions import ImproperlyConfigured, OperationalError, SchemaOutdated
from lavoro.store import tasks
from lavoro.store.database import Database
from lavoro.store.tx import Tx
from lavoro.store.url import clean_url, masked
from lavoro.text import commands
from tests.conftest import Eventually
from tests.postgres import Cluster
from tests.store.walk import message, rows, send, value

# URLs

PASSWORDS = [
    "plain", "p@ss", "a:b", "sl/ash", "wh?at", "h#sh", "100%", "%zz", "sp ace", "ü", "@", "@@", "/?", "a/b?c",
    "a/b?c=d", "a?host=x", "&=+", "'\"\\", "[::1]", "p@localhost:1/x", "tab\there", "a%2fb", "user:pw@host", "?",
]  # fmt: skip


LOCATIONS = ["localhost:5433/shop", "localhost", "/shop?host=/tmp", "h1:1,h2:2/shop?sslmode=require"]


@pytest.mark.parametrize("password", PASSWORDS)
@pytest.mark.parametrize("location", LOCATIONS)
def test_an_encoded_password_may_hold_any_character(password: str, location: str) -> None:
    found = conninfo_to_dict(clean_url(f"postgresql://us%20er:{quote(password, safe='')}@{location}"))
    assert found == {**conninfo_to_dict(f"postgresql://{location}"), "user": "us er", "password": password}


@pytest.mark.parametrize("password", PASSWORDS)
@pytest.mark.parametrize("location", LOCATIONS)
def test_a_raw_password_is_read_as_it_is_or_refused(password: str, location: str) -> None:
    """Never as another host: the error says what to do, and does not show the password."""
    url, shown = f"postgresql://us%20er:{password}@{location}", f"postgresql://us%20er:***@{location}"
    if set(password) & set("@/% ") and password != "a%2fb":
        with pytest.raises(ImproperlyConfigured, match=re.escape(f"{shown} is no PostgreSQL URL: percent-encode")):
            clean_url(url)
    else:
        assert conninfo_to_dict(clean_url(url))["password"] == unquote(password)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://localhost/shop", {"host": "localhost", "dbname": "shop"}),
        ("postgres://localhost/shop", {"host": "localhost", "dbname": "shop"}),
        ("postgresql+psycopg://localhost/shop", {"host": "localhost", "dbname": "shop"}),
        ("postgresql+psycopg2://u@localhost/shop", {"host": "localhost", "dbname": "shop", "user": "u"}),
        ("  postgresql://localhost/shop\n", {"host": "localhost", "dbname": "shop"}),
        ("postgresql://", {}),
        ("postgresql:///shop", {"dbname": "shop"}),
        ("postgresql://u@/shop?host=/tmp&port=5433", {"user": "u", "host": "/tmp", "port": "5433", "dbname": "shop"}),
        (
            "postgresql://u:p@[::1]:5433/shop",
            {"user": "u", "password": "p", "host": "::1", "port": "5433", "dbname": "shop"},
        ),
        (
            "postgresql://u:p@h1:1,h2:2/shop?target_session_attrs=read-write",
            {
                "user": "u",
                "password": "p",
                "host": "h1,h2",
                "port": "1,2",
                "dbname": "shop",
                "target_session_attrs": "read-write",
            },
        ),
        (
            "postgresql://localhost/shop?application_name=a@b&sslmode=verify-full",
            {"host": "localhost", "dbname": "shop", "application_name": "a@b", "sslmode": "verify-full"},
        ),
        (
            "postgresql://u:p@localhost/shop?application_name=a@b",
            {"user": "u", "password": "p", "host": "localhost", "dbname": "shop", "application_name": "a@b"},
        ),
        (
            "postgresql://me%40azure:p@localhost/x",
            {"user": "me@azure", "password": "p", "host": "localhost", "dbname": "x"},
        ),
        ("postgresql://localhost?user=u&password=p", {"host": "localhost", "user": "u", "password": "p"}),
    ],
)
def test_urls_of_all_kinds(url: str, expected: dict[str, str]) -> None:
    assert conninfo_to_dict(clean_url(url)) == expected


@pytest.mark.parametrize("url", ["", "redis://u:secret@localhost/0", "localhost/shop", "sqlite:///x", "host=localhost"])
def test_what_is_no_url_of_postgresql(url: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="is no PostgreSQL URL: it must begin with postgresql://") as caught:
        clean_url(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://u:secret@localhost:5432/shop", "postgresql://u:***@localhost:5432/shop"),
        ("postgresql://u:se@c:r/e?t@localhost/shop", "postgresql://u:***@localhost/shop"),
        ("postgresql://u:se\ncret@localhost/shop", "postgresql://u:***@localhost/shop"),
        ("postgresql://me@azure:secret@localhost/shop", "postgresql://me@azure:***@localhost/shop"),
        ("postgresql://:secret@localhost/shop", "postgresql://:***@localhost/shop"),
        (
            "postgresql://localhost:5432/shop?application_name=a@b",
            "postgresql://localhost:5432/shop?application_name=a@b",
        ),
        ("postgresql://u@localhost:5432/shop", "postgresql://u@localhost:5432/shop"),
        ("postgresql:///x?user=u&password=secret&port=1", "postgresql:///x?user=u&password=***&port=1"),
        ("redis://:secret@localhost/0", "redis://:***@localhost/0"),
        ("host=localhost password=secret dbname=x", "host=localhost password=*** dbname=x"),
        ("host=localhost password='se cret' dbname=x", "host=localhost password=*** dbname=x"),
    ],
)
def test_people_see_no_password(url: str, expected: str) -> None:
    assert masked(url) == expected


@pytest.mark.parametrize("password", PASSWORDS)
def test_no_password_is_shown_in_any_form(password: str) -> None:
    for written in (password, quote(password, safe="")):
        assert masked(f"postgresql://u:{written}@localhost/shop") == "postgresql://u:***@localhost/shop"


def test_a_password_is_checked_by_the_server(cluster: Cluster, database_url: str) -> None:
    awkward = "a/b?c=d@e:f%#'"
    name = database_url.rpartition("/")[2]
    cluster.execute(f"alter role guarded password '{awkward.replace(chr(39), chr(39) * 2)}'")
    try:
        with Database(cluster.guarded_url(name, password=quote(awkward, safe=""))).connect("lavoro-test") as connection:
            assert connection.info.user == "guarded"
    finally:
        cluster.execute("alter role guarded password 'sesame'")


# Connecting


def test_a_wrong_password_is_told_without_any(cluster: Cluster) -> None:
    with pytest.raises(
        OperationalError, match="cannot connect to postgresql://guarded:\\*\\*\\*@.*: .*authentication"
    ) as caught:
        Database(cluster.guarded_url(password="topsecret")).connect("lavoro-test")
    assert "topsecret" not in str(caught.value)


def test_an_unknown_option_is_a_matter_of_configuration() -> None:
    with pytest.raises(ImproperlyConfigured, match="is no PostgreSQL URL: invalid .*nonsense"):
        Database("postgresql://localhost/x?nonsense=1").connect("lavoro-test")


def test_the_first_of_many_hosts_that_answers(cluster: Cluster) -> None:
    hosts = f"127.0.0.1:1,127.0.0.1:{cluster.port}"
    with Database(f"postgresql://postgres@{hosts}/postgres?target_session_attrs=read-write").connect("x") as connection:
        assert connection.info.port == cluster.port


def test_a_function_is_asked_for_the_url_at_each_connection(cluster: Cluster) -> None:
    urls = iter([cluster.url(), cluster.socket_url()])
    database = Database(lambda: next(urls))
    with database.connect("x") as first, database.connect("x") as second:
        assert (first.info.host, second.info.host) == ("127.0.0.1", str(cluster.folder))


def test_a_function_is_asked_once_where_nobody_answers() -> None:
    urls = iter(["postgresql://127.0.0.1:1/x"])
    with pytest.raises(OperationalError, match="cannot connect to postgresql://127.0.0.1:1/x: "):
        Database(lambda: next(urls)).connect("x")


def test_how_a_connection_is_set(database: Database) -> None:
    with database.connect("lavoro-somebody") as connection:
        assert connection.autocommit
        found = [
            connection.execute(f"show {name}".encode()).fetchone() for name in ("application_name", "client_encoding")
        ]
        assert found == [("lavoro-somebody",), ("UTF8",)]
        assert connection.info.get_parameters()["keepalives_idle"] == "10"


# The pool


def test_one_engine_for_all_threads(empty_url: str) -> None:
    database, start, engines = Database(empty_url), threading.Barrier(8), set()

    def work() -> None:
        start.wait(30)
        engines.add(database.engine)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(engines) == 1
    database.dispose()


def test_each_statement_commits(database: Database, tx: Tx) -> None:
    with database.tx() as pooled:
        id = send(pooled)
        assert rows(tx, "select id from lavoro.waiting") == [(id,)]


def test_a_connection_is_used_again_with_its_cursor(database: Database) -> None:
    with database.tx() as first:
        pass
    with database.tx() as second:
        assert second is first
        with database.tx() as third:
            assert third is not first


def test_the_cursor_lives_as_long_as_its_connection(database: Database) -> None:
    with database.tx() as first:
        pass
    database.dispose()
    with database.tx() as second:
        assert second.connection is not first.connection
        assert second is not first


def test_a_full_pool_says_which_setting(empty_url: str) -> None:
    database = Database(empty_url, engine_options={"pool_size": 1, "max_overflow": 0, "pool_timeout": 0.01})
    words = "no connection was free in time .setting broker_pool_limit."
    with database.tx(), pytest.raises(OperationalError, match=words), database.tx():
        pass
    database.dispose()


def test_an_error_of_a_statement_leaves_the_connection_in_the_pool(database: Database) -> None:
    with database.tx() as tx:
        pid = tx.connection.info.backend_pid
    with pytest.raises(OperationalError, match="the database refused this: division by zero"), database.tx() as tx:
        rows(tx, "select 1 / 0")
    with database.tx() as tx:
        assert tx.connection.info.backend_pid == pid


def test_an_error_in_a_transaction_leaves_none_open(database: Database) -> None:
    with (
        pytest.raises(OperationalError, match="the database refused this: division by zero"),
        database.tx() as tx,
        tx.connection.transaction(),
    ):
        rows(tx, "select 1 / 0")
    with database.tx() as tx:
        assert tx.connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE


def test_a_connection_that_was_interrupted_leaves_the_pool(database: Database) -> None:
    """What a time limit raises in a task may come while the task waits for the database's answer."""

    class Interrupted(BaseException):
        pass

    def interrupted() -> None:
        with database.tx() as tx:
            tx.connection.pgconn.send_query(b"select pg_sleep(60)")  # as far as psycopg has come by then
            raise Interrupted

    with pytest.raises(Interrupted):
        interrupted()
    with database.tx() as tx:
        assert rows(tx, "select 1") == [(1,)]


def test_a_transaction_that_was_left_open_does_not_come_back(database: Database) -> None:
    with database.tx() as tx:
        tx.cursor.execute("begin")
        send(tx)
    with database.tx() as tx:
        assert tx.connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
        assert rows(tx, "select 1 from lavoro.waiting") == []


def test_a_lost_connection_is_told_and_replaced(database: Database, tx: Tx) -> None:
    with database.tx() as pooled:
        pid = pooled.connection.info.backend_pid
    value(tx, "select pg_terminate_backend(%s, 30000)", pid)
    with pytest.raises(OperationalError, match="the database did not answer: "), database.tx() as pooled:
        send(pooled)
    with database.tx() as pooled:
        assert send(pooled)


def test_a_restarted_server_costs_one_error_a_connection(own_cluster: Cluster) -> None:
    database = Database(own_cluster.url())
    with database.tx() as one, database.tx() as other:
        assert one.connection is not other.connection
    own_cluster.restart()
    failed = 0
    for _ in range(5):
        try:
            with database.tx() as tx:
                rows(tx, "select 1")
        except OperationalError:
            failed += 1
    assert failed <= 2
    own_cluster.stop()
    errors = []
    for _ in range(3):
        with pytest.raises(OperationalError) as caught, database.tx() as tx:
            rows(tx, "select 1")
        errors.append(str(caught.value))
    assert errors[2].startswith(f"cannot connect to {own_cluster.url()}: ")
    own_cluster.start()
    with database.tx() as tx:
        assert rows(tx, "select 1") == [(1,)]
    database.dispose()


def test_a_standby_counts_as_no_answer(database: Database) -> None:
    with database.tx() as tx:
        pid = tx.connection.info.backend_pid
        tx.cursor.execute("set default_transaction_read_only = on")
    with pytest.raises(OperationalError, match="did not answer: .*read-only transaction"), database.tx() as tx:
        send(tx)
    with database.tx() as tx:
        assert tx.connection.info.backend_pid != pid


def test_a_session_that_cannot_be_set_up_is_ended(
    database: Database, tx: Tx, monkeypatch: pytest.MonkeyPatch, eventually: Eventually
) -> None:
    monkeypatch.setattr("lavoro.store.connection.OWN_SESSION", b"select 1 / 0")
    with pytest.raises(psycopg.errors.DivisionByZero) as caught:  # whose traceback keeps the connection alive
        database.connect("half-made")
    query = "select 1 from pg_stat_activity where application_name = 'half-made'"
    eventually(lambda: rows(tx, query) == [], timeout=10, why="the session is gone")
    assert caught.tb


def test_missing_tables_say_what_to_do(database_url: str) -> None:
    commands.name_app("yourapp")
    database = Database(database_url)
    with (
        pytest.raises(SchemaOutdated, match="lacks Lavoro's tables .*: run `lavoro migrate -A yourapp`"),
        database.tx() as tx,
    ):
        send(tx)
    database.dispose()


def test_an_engine_that_nobody_knows_any_more_is_collected(empty_url: str) -> None:
    database = Database(empty_url)
    with database.tx():
        pass
    database.dispose()
    engine = weakref.ref(database.engine)
    del database
    gc.collect()
    assert engine() is None


# The caller's own transaction


def engine_for(url: str) -> sa.Engine:
    return sa.create_engine(url.replace("postgresql://", "postgresql+psycopg://"))


@contextmanager
def a_session(url: str) -> Iterator[tuple[Any, Any]]:
    engine = engine_for(url)
    with Session(engine) as session:
        yield session, session
    engine.dispose()


@contextmanager
def a_scoped_session(url: str) -> Iterator[tuple[Any, Any]]:
    engine = engine_for(url)
    session = scoped_session(sessionmaker(engine))
    yield session, session
    session.remove()
    engine.dispose()


@contextmanager
def a_connection(url: str) -> Iterator[tuple[Any, Any]]:
    engine = engine_for(url)
    with engine.connect() as connection:
        yield connection, connection
    engine.dispose()


@contextmanager
def of_psycopg(url: str) -> Iterator[tuple[Any, Any]]:
    with psycopg.connect(url) as connection:
        yield connection, connection


@contextmanager
def of_psycopg_with_ideas(url: str) -> Iterator[tuple[Any, Any]]:
    """Whose cursors return dicts and know no names of parameters."""
    with psycopg.connect(url, row_factory=dict_row, cursor_factory=psycopg.RawCursor) as connection:
        yield connection, connection


CALLERS = pytest.mark.parametrize(
    "caller", [a_session, a_scoped_session, a_connection, of_psycopg, of_psycopg_with_ideas]
)


@CALLERS
@pytest.mark.parametrize("count", [1, 3])
def test_a_task_exists_when_the_callers_transaction_commits(
    database: Database, tx: Tx, empty_url: str, caller: Any, count: int
) -> None:
    with caller(empty_url) as (connection, transaction):
        tasks.insert(database.join(connection), [message() for _ in range(count)], always_wake=True)
        assert rows(tx, "select 1 from lavoro.waiting") == []
        transaction.rollback()
        assert rows(tx, "select 1 from lavoro.waiting") == []
        tasks.insert(database.join(connection), [message() for _ in range(count)], always_wake=True)
        transaction.commit()
        assert value(tx, "select count(*) from lavoro.waiting") == count


def test_a_savepoint_takes_its_tasks_along(database: Database, tx: Tx, empty_url: str) -> None:
    with a_session(empty_url) as (session, _):
        send(database.join(session))
        savepoint = session.begin_nested()
        send(database.join(session))
        savepoint.rollback()
        session.commit()
    assert value(tx, "select count(*) from lavoro.waiting") == 1


def test_the_callers_connection_stays_as_it_was(database: Database, empty_url: str) -> None:
    with psycopg.connect(empty_url, row_factory=dict_row) as connection:
        send(database.join(connection))
        assert connection.execute("select 1 as one").fetchone() == {"one": 1}
        assert not connection.autocommit


@pytest.mark.parametrize("caller", ["postgresql://localhost/x", None, 42, object(), {"connection": 1}])
def test_what_is_no_connection(database: Database, caller: object) -> None:
    with pytest.raises(
        TypeError, match="connection must be a SQLAlchemy session or connection, or a psycopg connection, not"
    ):
        database.join(caller)


def test_an_engine_is_no_connection(database: Database) -> None:
    with pytest.raises(TypeError, match="not Engine"):
        database.join(database.engine)


def test_another_driver_is_refused_with_what_to_do(database: Database) -> None:
    engine = sa.create_engine("sqlite://")
    with Session(engine) as session, pytest.raises(ImproperlyConfigured) as caught:
        database.join(session)
    engine.dispose()
    assert str(caught.value) == (
        "a task can join a transaction of psycopg 3, not of sqlite3:"
        " give the engine a URL that begins with postgresql+psycopg://"
    )
