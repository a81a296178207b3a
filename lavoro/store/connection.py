"""Opening connections: with keepalives, a deadline for answers, and the settings that our statements need."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import psycopg
from psycopg.rows import TupleRow

from lavoro.exceptions import ImproperlyConfigured, OperationalError
from lavoro.store.deadline import Backend, PatientConnection
from lavoro.store.errors import first_line
from lavoro.store.url import clean_url, masked

Url = str | Callable[[], str]
"""A PostgreSQL URL, or a function that returns one: it is asked again for each new connection."""
OWN_SESSION = (
    b"select set_config('enable_seqscan', 'off', false), set_config('jit', 'off', false),"
    b" set_config('plan_cache_mode', 'force_generic_plan', false),"
    b" set_config('idle_session_timeout', '0', false),"
    b" set_config('default_transaction_isolation', 'read committed', false),"
    b" pg_backend_pid()::text,"
    b" (select extract(epoch from backend_start)::text from pg_stat_activity where pid = pg_backend_pid())"
)
"""For a session of our own. The server keeps the plans of prepared statements: one made while the tables are empty
would read them from one end to the other, until the next ANALYZE comes by. After a quiet night a flood of 200,000 tasks
was claimed 100 times slower, up to a minute long. No values could make a better plan, so the first is kept.
The sessions of sleeping workers are idle by design. Every statement is written for read committed: a stricter level,
which may be the database's default, would refuse some of them.
Number and start of the session are read so that it can be ended once it is abandoned."""


@dataclass(frozen=True)
class Connector:
    """The way to a database.

    ``timeout`` is in seconds. ``pooled`` says that the URL leads to a pooler in transaction mode, where nothing may
    belong to a session, no prepared statement and no LISTEN; ``direct_url`` leads past it.
    """

    given_url: Url
    timeout: float = 4
    pooled: bool = False
    direct_url: str | None = None

    @property
    def url(self) -> str:
        """The URL in libpq's form."""
        return clean_url(self.given_url() if callable(self.given_url) else self.given_url)

    @property
    def listens(self) -> bool:
        """Whether notifications can be heard: not through a pooler in transaction mode."""
        return not self.pooled or self.direct_url is not None

    def connect(
        self, application: str, *, direct: bool = False, patience: float = math.inf
    ) -> psycopg.Connection[TupleRow]:
        """Open a connection of one's own, in autocommit, with keepalives; raises ``OperationalError``.

        ``direct`` goes past a pooler where the way is known: for what belongs to one session, as LISTEN does.
        ``patience`` is how many seconds a statement waits for its answer until it raises psycopg's OperationalError.
        """
        past = direct and self.direct_url is not None
        url = clean_url(self.direct_url) if past and self.direct_url else self.url
        shared = self.pooled and not past
        try:
            connection = PatientConnection.connect(
                url,
                autocommit=True,
                client_encoding="utf8",
                prepare_threshold=None if shared else 5,
                connect_timeout=max(2, int(self.timeout)),
                application_name=application,
                keepalives_idle=10,
                keepalives_interval=5,
                keepalives_count=3,
                tcp_user_timeout=20_000,
            )
            connection.patience = patience
            connection.backend = Backend(application, patience)
            connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED  # of transactions behind a pooler too
            return connection if shared else _begun(connection, connection.backend)
        except psycopg.OperationalError as error:
            raise OperationalError(f"cannot connect to {masked(url)}: {first_line(error)}") from error
        except psycopg.ProgrammingError as error:
            raise ImproperlyConfigured(f"{masked(url)} is no PostgreSQL URL: {first_line(error)}") from error


def _begun(connection: PatientConnection, backend: Backend) -> PatientConnection:
    try:
        row = connection.execute(OWN_SESSION).fetchone()
    except BaseException:
        connection.close()
        raise
    assert row is not None
    *_, pid, start = row
    connection.backend = backend._replace(pid=int(pid), start=start)
    return connection
