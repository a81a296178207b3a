"""Migrated databases that tests take in turn: to empty one takes a third of the time of a copy."""

from __future__ import annotations

import os
from collections import deque
from typing import Any, NamedTuple

import psutil
import psycopg

from tests.postgres import Cluster

OTHERS = 4
"""A database is lent again after so many others: the sessions that a test closes have ended by then."""

USED = """
    select string_agg(oid::regclass::text, ', ') from pg_class
    where oid >= 16384 and relkind = 'r' and relname not in ('meta', 'history_mark')
        and pg_relation_size(oid) > 0"""
"""To begin a table anew takes as long as to make it, so those that never had rows are left alone."""

# What TRUNCATE changes itself is left out of pg_class.
DEFINED = "select count(*), sum(oid::int8 + relnatts + relchecks + hashtext(relacl::text)) from pg_class" + "".join(
    f" union all select count(*), sum(xmin::text::int) from {catalog}"
    for catalog in (
        "pg_attribute", "pg_constraint", "pg_depend", "pg_index", "pg_namespace", "pg_proc", "pg_trigger", "pg_type",
        "lavoro.meta",
    )
)  # fmt: skip
"""Has another answer after each statement that defines, changes or drops something, or grants a right."""

STATE = f"""
    select (select array_agg(d::text) from ({DEFINED}) d), ({USED}),
        (select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid())
            + (select count(*) from pg_db_role_setting s join pg_database d on d.oid = s.setdatabase
               where d.datname = current_database()),
        (select array_agg(distinct pid) from lavoro.worker)"""


class State(NamedTuple):
    """A database as a test has left it."""

    defined: list[str]
    used: str | None
    """The tables that have had rows."""
    left: int
    """The number of sessions and of settings that are left."""
    workers: list[int] | None
    """The processes of workers."""

    def like_new(self, new: State) -> bool:
        """Whether it is as good as new once its tables are empty."""
        workers = [pid for pid in self.workers or () if pid != os.getpid() and psutil.pid_exists(pid)]
        return self.defined == new.defined and not self.left and not workers


def empty(connection: psycopg.Connection[Any], tables: str | None = None) -> None:
    """Begin tables anew, or all that have had rows; and the numbers of workers."""
    if tables := tables or connection.execute(USED.encode()).fetchall()[0][0]:
        connection.execute("set lock_timeout = '30s'")
        connection.execute(f"truncate {tables} restart identity".encode())


def state(connection: psycopg.Connection[Any]) -> State:
    """Read the state of the connection's database."""
    return State(*connection.execute(STATE.encode()).fetchall()[0])


class Stock:
    """Copies of the migrated database, lent to one test after the other.

    One is dropped instead if its test has left a session or a worker, or changed what the migrations have defined.
    """

    def __init__(self, cluster: Cluster, template: str) -> None:
        self._cluster, self._template = cluster, template
        self._returned: deque[str] = deque()
        first = self._copy()
        with self._connect(first) as connection:
            self._new = state(connection)
        self._returned.append(first)

    def take(self) -> str:
        """Return the name of a database with the schema and no rows."""
        while self._returned and len(self._returned) > OTHERS:
            name = self._returned.popleft()
            if self._renew(name):
                return name
            self._cluster.drop_database(name)
        return self._copy()

    def give_back(self, name: str) -> None:
        """Take a database back from a test."""
        self._returned.append(name)

    def _copy(self) -> str:
        return self._cluster.create_database(template=self._template)

    def _connect(self, name: str) -> psycopg.Connection[Any]:
        return psycopg.connect(self._cluster.socket_url(name), autocommit=True)

    def _renew(self, name: str) -> bool:
        """Empty a database; False if it cannot be made as good as new."""
        with self._connect(name) as connection:
            try:
                found = state(connection)
            except psycopg.errors.UndefinedTable:  # the test has dropped it
                return False
            if not found.like_new(self._new):
                return False
            if found.used:
                empty(connection, found.used)
        return True
