"""The middleware that comes with the package: correlation ids, times and queries, sessions."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from lavoro import Lavoro, Task, chain, chord, log
from lavoro.exceptions import ImproperlyConfigured
from lavoro.middleware import CorrelationId, SessionCleanup, TimeLog
from lavoro.testing import worker
from tests.api.conftest import Rows
from tests.conftest import Eventually
from tests.executor.run import finished, given_back

PATIENCE = 30.0
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}")


# Correlation ids


@pytest.fixture
def fields() -> Iterator[None]:
    """Fields of log records that a test adds are gone after it."""
    yield
    log.FIELDS.clear()


@pytest.mark.usefixtures("fields")
def test_all_that_comes_of_one_call_has_its_id(app: Lavoro, eventually: Eventually) -> None:
    ids = iter(["a web request"])
    app.middleware.add(CorrelationId(find=lambda: next(ids, None)))
    seen: dict[str, Any] = {}

    @app.task(bind=True)
    def handler(self: Task[..., Any]) -> None:
        seen[self.request.id] = self.request.request_id
        if not self.request.retries:
            raise self.retry(countdown=0)
        child.delay()
        child.delay_many([(), ()])
        chain(child.si(), child.si()).delay()
        chord([child.si()], child.si()).delay()
        child.apply_async(link_error=child.si(), kwargs={"fail": True})
        app.send_task("child")
        assert child() is None

    @app.task(bind=True, name="child")
    def child(self: Task[..., Any], fail: bool = False) -> None:
        if not self.request.called_directly:
            seen[self.request.id] = self.request.request_id
        if fail:
            raise ValueError

    with worker(app, pool="threads", concurrency=2):
        handler.delay()
        eventually(lambda: len(seen) == 11)
    assert set(seen.values()) == {"a web request"}


@pytest.mark.usefixtures("fields")
def test_without_a_request_each_call_has_an_id_of_its_own(app: Lavoro, rows: Rows, migrated_url: str) -> None:
    app.middleware.add(CorrelationId())
    task = app.task(name="task", bind=True)(lambda self: self.request.request_id)
    task.delay()
    task.delay()
    task.apply_async(headers={"request_id": "given", "other": 1})
    first, second, given = [row["options"]["headers"] for row in rows()]
    assert UUID.fullmatch(first["request_id"])
    assert UUID.fullmatch(second["request_id"])
    assert first != second
    assert given == {"request_id": "given", "other": 1}
    with psycopg.connect(migrated_url, autocommit=True) as connection, worker(app, pool="threads"):
        (sent,) = connection.execute("select lavoro.enqueue('task')").fetchone() or ()
        assert UUID.fullmatch(app.AsyncResult(str(sent)).get(timeout=PATIENCE))


@pytest.mark.usefixtures("fields")
def test_a_task_that_was_sent_from_sql_keeps_the_id_that_it_was_given(app: Lavoro) -> None:
    app.middleware.add(CorrelationId())
    seen: list[str] = []

    @app.task(bind=True)
    def again(self: Task[..., Any]) -> None:
        seen.append(self.request.request_id)
        raise self.retry(countdown=0)

    back = given_back(again)
    given_back(again, retries=1, options=back.options)
    assert seen == [seen[0]] * 2


@pytest.mark.usefixtures("fields")
@pytest.mark.parametrize("id", ["x" * 201, "two\nlines", "\x1b[31m"])
def test_an_id_that_cannot_be_shown_is_replaced(app: Lavoro, rows: Rows, id: str) -> None:
    app.middleware.add(CorrelationId(find=lambda: id))
    app.send_task("task")
    assert UUID.fullmatch(rows()[0]["options"]["headers"]["request_id"])


@pytest.mark.usefixtures("fields")
def test_log_records_have_the_id(app: Lavoro) -> None:
    app.middleware.add(CorrelationId(find=lambda: "req 1"))
    lines: list[str] = []

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(self.format(record))

    handler = Lines()
    logger = logging.getLogger("tests.correlation")
    logger.addHandler(handler)
    logger.setLevel("INFO")

    @app.task
    def tell() -> None:
        logger.info("inside")

    def told(formatter: logging.Formatter) -> str:
        handler.setFormatter(formatter)
        tell.apply()
        return lines.pop()

    try:
        assert json.loads(told(log.JsonFormatter()))["message"] == "inside"
        handler.addFilter(log.TaskFilter())
        assert json.loads(told(log.JsonFormatter()))["request_id"] == "req 1"
        assert told(log.TaskFormatter("%(request_id)s %(message)s", use_color=False)) == "req 1 inside"
        app.middleware[:] = [CorrelationId(find=lambda: None)]
        handler.setFormatter(logging.Formatter("%(request_id)s %(message)s"))
        logger.info("outside")
        assert lines == ["??? outside"]
    finally:
        logger.removeHandler(handler)


@pytest.mark.parametrize("header", ["correlation_id", "id", "X-Request-ID", ""])
def test_a_header_that_means_something_else_is_refused(header: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=f"the header '{header}' cannot be"):
        CorrelationId(header)


# Times and queries


def test_times_and_queries_are_logged(app: Lavoro, caplog: pytest.LogCaptureFixture) -> None:
    engine = sa.create_engine("sqlite://")
    times = app.middleware.add(TimeLog())

    @app.task
    def query(times: int) -> None:
        with engine.connect() as connection:
            for _ in range(times):
                connection.execute(sa.text("select 1"))
            if not times:
                connection.execute(sa.text("select nothing"))

    with engine.connect() as connection:
        connection.execute(sa.text("select 1"))  # outside of a task: it does not count
    with caplog.at_level(logging.INFO, "lavoro.task"):
        assert finished(query, 2).state == "SUCCESS"
        times.slow = 0.0
        assert finished(query, 1).state == "SUCCESS"
        assert finished(query, 0).state == "FAILURE"
    found = [record for record in caplog.records if hasattr(record, "queries")]
    told = [(record.levelname, record.queries, record.task_name) for record in found]  # type: ignore[attr-defined]
    assert told == [("INFO", 2, query.name), ("WARNING", 1, query.name), ("WARNING", 1, query.name)]
    assert all(0 <= record.query_time <= record.runtime for record in found)  # type: ignore[attr-defined]
    assert re.fullmatch(
        rf"Task {query.name}\[.*\] took 0\.\d{{3}} s, of which 2 queries took 0\.\d{{3}} s", found[0].getMessage()
    )
    assert "1 query took" in found[1].getMessage()
    engine.dispose()


# Sessions


@pytest.fixture
def registry(migrated_url: str) -> Iterator[scoped_session[Session]]:
    """The sessions of an application, on its own engine."""
    engine = sa.create_engine(migrated_url.replace("postgresql:", "postgresql+psycopg:"))
    registry = scoped_session(sessionmaker(engine))
    yield registry
    registry.remove()
    engine.dispose()


def test_a_session_does_not_outlive_its_task(app: Lavoro, registry: scoped_session[Session]) -> None:
    """With one slot two tasks would share it: its transaction, and that of a failed statement."""
    app.middleware.add(SessionCleanup(registry))

    @app.task
    def first(fail: bool) -> list[int]:
        registry.execute(sa.text("create table lost (x int)"))
        if fail:
            registry.execute(sa.text("select nothing"))
        return [id(registry())]

    @app.task
    def second() -> list[Any]:
        return [registry.execute(sa.text("select to_regclass('lost')::text")).scalar(), registry().in_transaction()]

    with worker(app, pool="solo"):
        assert first.delay(False).get(timeout=PATIENCE)
        assert second.delay().get(timeout=PATIENCE) == [None, True]
        assert first.delay(True).get(timeout=PATIENCE, propagate=False).__class__.__name__ == "ProgrammingError"
        assert second.delay().get(timeout=PATIENCE) == [None, True]
        assert registry.get_bind().pool.checkedout() == 0  # type: ignore[union-attr]


def test_an_eager_task_leaves_the_session_to_its_caller(app: Lavoro, registry: scoped_session[Session]) -> None:
    app.middleware.add(SessionCleanup(registry))
    task = app.task(name="task")(lambda: id(registry()))
    session = registry()
    assert task.apply().get() == id(session)
    assert registry() is session


def test_an_error_of_the_session_does_not_change_the_outcome(app: Lavoro, caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        def rollback(self) -> None:
            raise OSError("of rollback")

        def remove(self) -> None:
            raise OSError("of remove")

    app.middleware.add(SessionCleanup(Broken()))
    with caplog.at_level(logging.ERROR, "lavoro.task"):
        assert finished(app.task(name="fine")(lambda: 1)).result == "1"
        assert "ZeroDivisionError" in str(finished(app.task(name="fails")(lambda: 1 / 0)).result)
    told = [record.getMessage() for record in caplog.records if "could not be cleaned up" in record.getMessage()]
    assert len(told) == 3
    assert told[0].startswith("the session of task fine[")


def test_a_session_that_all_tasks_would_share_is_refused() -> None:
    with Session() as session, pytest.raises(ImproperlyConfigured, match="needs a scoped session, not <sqlalchemy"):
        SessionCleanup(session)
