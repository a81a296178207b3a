"""Tasks that join the caller's transaction: they exist when it commits, and never did when it is rolled back."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from psycopg.rows import dict_row
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from lavoro import Lavoro, signals
from lavoro.exceptions import ImproperlyConfigured
from lavoro.store.schema.migrate import migrate
from tests.api.conftest import Rows
from tests.postgres import Cluster
from tests.store.walk import heard


@pytest.fixture
def engine(app: Lavoro) -> Iterator[sa.Engine]:
    engine = sa.create_engine(app.database_url)
    yield engine
    engine.dispose()


def _session(engine: sa.Engine) -> Any:
    return Session(engine)


def _scoped_session(engine: sa.Engine) -> Any:
    return scoped_session(sessionmaker(engine))


def _connection(engine: sa.Engine) -> Any:
    return engine.connect()


def _psycopg(engine: sa.Engine) -> Any:
    return psycopg.connect(engine.url.set(drivername="postgresql").render_as_string(False), row_factory=dict_row)


Opener = Callable[[sa.Engine], Any]
transactions = pytest.mark.parametrize("opener", [_session, _scoped_session, _connection, _psycopg])


def nothing() -> None: ...


@contextmanager
def _closing(connection: Any) -> Iterator[Any]:
    try:
        yield connection
    finally:
        connection.close()


class Ear:
    """Hears whether workers would be woken."""

    def __init__(self, url: str) -> None:
        self.connection = psycopg.connect(url, autocommit=True)
        self.connection.execute("listen lavoro_wake")

    def heard(self) -> int:
        return len(heard(self.connection))


@pytest.fixture
def ear(migrated_url: str) -> Iterator[Ear]:
    ear = Ear(migrated_url)
    yield ear
    ear.connection.close()


@transactions
def test_rolled_back_call_leaves_nothing(
    app: Lavoro, engine: sa.Engine, rows: Rows, ear: Ear, caplog: pytest.LogCaptureFixture, opener: Opener
) -> None:
    told: list[Any] = []

    @signals.after_task_publish.connect
    def published(**_: Any) -> None:
        told.append(1)

    caplog.set_level(logging.DEBUG, "lavoro")
    task = app.task(nothing)
    with _closing(opener(engine)) as connection:
        task.apply_async(connection=connection)
        task.delay_many([(), ()], connection=connection)
        task.delay_many([(), ()], connection=connection, atomic=True)
        assert app.send_task("other", connection=connection).exists() is False
        connection.rollback()
    assert rows() == []
    assert (told, caplog.records, ear.heard()) == ([], [], 0)


@transactions
def test_committed_call_is_there_at_the_commit_and_not_before(
    app: Lavoro, engine: sa.Engine, rows: Rows, ear: Ear, opener: Opener
) -> None:
    task = app.task(nothing)
    with _closing(opener(engine)) as connection:
        result = task.apply_async(connection=connection)
        assert rows() == []
        connection.commit()
    assert [str(row["id"]) for row in rows()] == [result.id]
    assert ear.heard() == 1


@transactions
def test_plain_calls_join_inside_the_block(app: Lavoro, engine: sa.Engine, rows: Rows, opener: Opener) -> None:
    task = app.task(nothing)
    with _closing(opener(engine)) as connection:
        with app.transaction(connection):
            task.delay()
            task.delay_many([(), ()])
            assert rows() == []
            connection.commit()
            assert len(rows()) == 3
            task.delay()
            connection.rollback()
        task.delay()
    assert len(rows()) == 4


def test_savepoint_of_a_session(app: Lavoro, engine: sa.Engine, rows: Rows) -> None:
    task = app.task(nothing)
    with Session(engine) as session, app.transaction(session):
        outer = task.delay()
        savepoint = session.begin_nested()
        task.delay()
        savepoint.rollback()
        session.commit()
    assert [str(row["id"]) for row in rows()] == [outer.id]


def test_savepoint_of_psycopg(app: Lavoro, rows: Rows, migrated_url: str) -> None:
    task = app.task(nothing)
    with psycopg.connect(migrated_url) as connection:
        outer = task.apply_async(connection=connection)
        with connection.transaction():
            task.apply_async(connection=connection)
            raise psycopg.Rollback
    assert [str(row["id"]) for row in rows()] == [outer.id]


def test_own_writes_and_tasks_are_one(app: Lavoro, engine: sa.Engine, rows: Rows) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql("create table public.customer (id int primary key)")
    task = app.task(nothing)
    with Session(engine) as session, app.transaction(session):
        session.execute(sa.text("insert into customer values (1)"))
        task.delay()
        with pytest.raises(sa.exc.IntegrityError):
            session.execute(sa.text("insert into customer values (1)"))
        session.rollback()
    assert rows() == []


def test_refused_call_leaves_the_transaction_usable(app: Lavoro, engine: sa.Engine, rows: Rows) -> None:
    task = app.task(nothing)
    with Session(engine) as session, app.transaction(session):
        with pytest.raises(TypeError):
            task.delay(object())
        with pytest.raises(ValueError, match="finite|seconds"):
            task.apply_async(countdown=float("nan"))
        task.delay()
        session.commit()
    assert len(rows()) == 1


def test_block_is_of_its_application_and_thread(app: Lavoro, engine: sa.Engine, rows: Rows) -> None:
    task = app.task(nothing)
    with Lavoro("other", broker=app.conf.broker_url) as other, Session(engine) as session:
        with app.transaction(session):
            other.task(name="other")(nothing).delay()
            thread = threading.Thread(target=contextvars.Context().run, args=(task.delay,))
            thread.start()
            thread.join()
            task.delay()
        assert len(rows()) == 2


def test_inner_block_wins(app: Lavoro, engine: sa.Engine, rows: Rows) -> None:
    task = app.task(nothing)
    with Session(engine) as outer, Session(engine) as inner, app.transaction(outer):
        with app.transaction(inner):
            task.delay()
        task.delay()
        inner.commit()
        assert len(rows()) == 1
        outer.commit()
        assert len(rows()) == 2


def test_copied_context_joins_no_block_that_has_ended(app: Lavoro, engine: sa.Engine, rows: Rows) -> None:
    task = app.task(nothing)
    with Session(engine) as outer, Session(engine) as inner:
        with app.transaction(outer):
            with app.transaction(inner):
                copied = contextvars.copy_context()
            copied.run(task.delay)
            assert rows() == []
            outer.commit()
            assert len(rows()) == 1
        outer.close()
        copied.run(task.delay)
        copied.run(task.delay_many, [(), ()])
    assert len(rows()) == 4


def test_thread_joins_no_block_of_another(app: Lavoro, engine: sa.Engine, rows: Rows) -> None:
    task = app.task(nothing)
    with Session(engine) as session, app.transaction(session), ThreadPoolExecutor(1) as threads:
        foreign = threads.submit(contextvars.copy_context().run, task.delay)
        with pytest.raises(RuntimeError, match=r"inside the block app\.transaction"):
            foreign.result(timeout=10)
        many = threads.submit(contextvars.copy_context().run, task.delay_many, [(), ()])
        with pytest.raises(RuntimeError, match=r"inside the block app\.transaction"):
            many.result(timeout=10)
        own = threads.submit(contextvars.copy_context().run, task.apply_async, connection=None)
        assert own.exception(timeout=10) is not None
        task.delay()
        session.commit()
    assert len(rows()) == 1


def test_asyncio_task_joins_no_block_of_another(app: Lavoro, engine: sa.Engine, rows: Rows) -> None:
    task = app.task(nothing)

    async def call(ended: asyncio.Event | None) -> str:
        if ended is not None:
            await ended.wait()
        return str(task.delay().id)

    async def main() -> None:
        ended = asyncio.Event()
        with Session(engine) as session, app.transaction(session):
            late = asyncio.create_task(call(ended))
            with pytest.raises(RuntimeError, match="asyncio task"):
                await asyncio.create_task(call(None))
            await call(None)  # the same asyncio task
            session.rollback()
        ended.set()
        alone = await late
        assert [str(row["id"]) for row in rows()] == [alone]

    asyncio.run(main())


def test_block_of_a_generator_may_end_in_another_context(app: Lavoro, engine: sa.Engine, rows: Rows) -> None:
    task = app.task(nothing)

    def steps(session: Session) -> Iterator[None]:
        with app.transaction(session):
            yield

    with Session(engine) as session:
        generator = steps(session)
        contextvars.copy_context().run(next, generator)
        generator.close()
        task.delay()
    assert len(rows()) == 1


def test_what_is_no_connection_is_refused(app: Lavoro) -> None:
    with pytest.raises(TypeError, match="SQLAlchemy session"):
        app.task(nothing).apply_async(connection=object())
    with app.transaction("session"), pytest.raises(TypeError, match="SQLAlchemy session"):
        app.task(nothing).delay()
    sqlite = sa.create_engine("sqlite://")
    with sqlite.connect() as connection, pytest.raises(ImproperlyConfigured, match=r"postgresql\+psycopg"):
        app.task(nothing).apply_async(connection=connection)
    sqlite.dispose()


EARLY = """
import sys, psycopg, sqlalchemy as sa
engine = sa.create_engine(sys.argv[1].replace("postgresql://", "postgresql+psycopg://"))
session = engine.connect()
session.execute(sa.text("select 1"))
connection = psycopg.connect(sys.argv[1])
from lavoro import Lavoro
app = Lavoro("early", broker=sys.argv[1])
app.send_task("a", connection=connection)
app.send_task("b", connection=session)
connection.commit()
session.commit()
"""


def _two_phase_session(engine: sa.Engine) -> Any:
    return Session(engine, twophase=True)


def _two_phase_connection(engine: sa.Engine) -> Any:
    connection = engine.connect()
    connection.begin_twophase()
    return connection


def _two_phase_psycopg(engine: sa.Engine) -> Any:
    connection = _psycopg(engine)
    connection.tpc_begin(connection.xid(1, "both", "ours"))
    return connection


SILENT = "select lavoro.enqueue('a.b', wake => false)"


def test_a_two_phase_transaction_is_refused_and_goes_on(own_cluster: Cluster) -> None:
    """Else its prepare would fail; what workers are not told of can be part of it."""
    own_cluster.execute("alter system set max_prepared_transactions = 5")
    own_cluster.restart()
    url = own_cluster.url(own_cluster.create_database())
    migrate(url)
    with Lavoro("shop", broker=url) as app, psycopg.connect(url, autocommit=True) as reader:
        engine = sa.create_engine(app.database_url)
        for number, opener in enumerate((_two_phase_session, _two_phase_connection, _two_phase_psycopg), 1):
            with _closing(opener(engine)) as connection:
                with pytest.raises(ImproperlyConfigured, match="two-phase transaction: .* after the commit"):
                    app.send_task("a.b", connection=connection)
                connection.execute(SILENT if opener is _two_phase_psycopg else sa.text(SILENT))
                _commit_both_phases(connection)
            assert reader.execute("select count(*) from lavoro.waiting").fetchone() == (number,)
        engine.dispose()


def _commit_both_phases(connection: Any) -> None:
    if isinstance(connection, psycopg.Connection):
        connection.tpc_prepare()
        connection.tpc_commit()
    elif isinstance(connection, sa.Connection):
        transaction = connection.get_transaction()
        assert isinstance(transaction, sa.TwoPhaseTransaction)
        transaction.prepare()
        transaction.commit()
    else:
        connection.prepare()
        connection.commit()


def test_a_connection_in_the_middle_of_a_statement(app: Lavoro, migrated_url: str, rows: Rows) -> None:
    """As a signal handler of this thread meets it, in which waiting for it would be for ever."""
    with psycopg.connect(migrated_url) as connection:
        told = list[BaseException]()

        def handler(diagnostic: object) -> None:  # called while the statement is under way
            with pytest.raises(RuntimeError, match="in the middle of a statement") as caught:
                app.send_task("inside", connection=connection)
            told.append(caught.value)

        connection.add_notice_handler(handler)
        connection.execute("do $$ begin raise notice 'now'; end $$")
        app.send_task("after", connection=connection)
    assert len(told) == 1
    assert [row["name"] for row in rows()] == ["after"]


def test_connections_may_be_older_than_the_import_of_lavoro(migrated_url: str, rows: Rows) -> None:
    subprocess.run([sys.executable, "-c", EARLY, migrated_url], check=True, timeout=60)
    assert {row["name"] for row in rows()} == {"a", "b"}
