"""Connections that stay borrowed, and those of a process that forks: no two processes share one."""

from __future__ import annotations

import ast
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
import pytest

from lavoro import Lavoro
from lavoro.exceptions import OperationalError
from lavoro.exceptions import TimeoutError as LavoroTimeoutError
from lavoro.store.database import Database
from lavoro.store.tx import Tx
from tests.conftest import Eventually
from tests.store.walk import rows, value


def session_of(database: Database) -> int:
    with database.pinned() as tx:
        return int(value(tx, "select pg_backend_pid()"))


def test_a_kept_connection_is_used_again_until_it_is_lost(database: Database, tx: Tx) -> None:
    first = session_of(database)
    assert session_of(database) == first
    rows(tx, "select pg_terminate_backend(%s, 10000)", first)
    with pytest.raises(OperationalError):
        session_of(database)
    assert session_of(database) != first


def test_a_kept_connection_goes_with_its_pool(database: Database, tx: Tx, eventually: Eventually) -> None:
    first = session_of(database)
    database.dispose()
    eventually(lambda: not rows(tx, "select 1 from pg_stat_activity where pid = %s", first))
    assert session_of(database) != first


@contextmanager
def forked(work: Callable[[], object]) -> Iterator[Callable[[], str]]:
    """Run a function in a forked child; yields a function that waits for its answer."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        answer = "nothing"
        try:
            answer = repr(work())
        except BaseException as error:
            answer = repr(error)
        finally:
            os.write(writing, answer.encode())
            os._exit(0)
    os.close(writing)

    def answer() -> str:
        with os.fdopen(reading, "rb", closefd=False) as pipe:
            return pipe.read().decode()

    yield answer
    os.waitpid(child, 0)
    os.close(reading)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_children_of_a_fork_never_share_a_connection(database: Database) -> None:
    def backend() -> int:
        with database.tx() as tx:
            return int(value(tx, "select pg_backend_pid()"))

    mine = backend()
    with forked(backend) as first, forked(backend) as second:
        pids = [mine, int(first()), int(second()), backend()]
    assert pids[3] == mine
    assert len(set(pids)) == 3


def test_a_fork_does_not_use_its_parents_kept_connection(database: Database) -> None:
    first, (reading, writing) = session_of(database), os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, str(session_of(database)).encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert int(os.read(reading, 20)) != first
    assert session_of(database) == first
    os.close(reading)
    os.close(writing)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_connection_in_use_at_a_fork_stays_the_parents(database: Database) -> None:
    own = database.connect("mine")
    with database.pinned() as kept, database.tx() as pooled:
        pids = [int(value(tx, "select pg_backend_pid()")) for tx in (kept, pooled)]

        def use_and_close() -> list[int]:
            for tx in (kept, pooled):
                with pytest.raises(psycopg.OperationalError):
                    value(tx, "select 1")
            own.close()
            database.dispose()
            with database.pinned() as fresh, database.tx() as other:
                found = [int(value(tx, "select pg_backend_pid()")) for tx in (fresh, other)]
            database.dispose()
            return found

        with forked(use_and_close) as answer:
            fresh = ast.literal_eval(answer())
        assert not {*fresh} & {*pids}
        assert [int(value(tx, "select pg_backend_pid()")) for tx in (kept, pooled)] == pids
    assert own.execute("select 1").fetchone() == (1,)
    own.close()


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_fork_does_not_wait_for_locks_of_threads_that_it_does_not_have(migrated_url: str) -> None:
    with Lavoro("shop", broker=migrated_url, set_as_current=False) as app:
        held, over = threading.Event(), threading.Event()

        def hold() -> None:
            with app._lock.held, app.conf._lock, app.database._making_engine, app.result_listener._lock:
                app.conf._reading = True
                held.set()
                over.wait(60)
                app.conf._reading = False

        holder = threading.Thread(target=hold)
        holder.start()
        assert held.wait(60)

        def call() -> tuple[bool, str]:
            signal.alarm(30)  # ends a fork that hangs
            result = app.send_task("anything")
            with pytest.raises(LavoroTimeoutError):
                result.get(timeout=0.01)
            app.conf.update(task_default_queue="other")
            return result.exists(), app.conf.task_default_queue

        with forked(call) as answer:
            assert answer() == "(True, 'other')"
        over.set()
        holder.join()
