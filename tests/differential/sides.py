"""The two sides: with which Python, path, servers and command a program runs."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import NamedTuple

from lavoro.store.schema.migrate import migrate
from tests.differential.program import PROGRAMS
from tests.differential.redis import temporary_redis
from tests.postgres import Cluster, temporary_cluster

ROOT = Path(__file__).parents[2]
BESIDE = Path(__file__).parent / "beside"
SETTINGS = ("CELERY", "LAVORO", "PG", "PYTHON", "RECORD")
"""Variables that begin so are not passed on: what runs the tests may have its own."""

NO_REDIS = "redis://127.0.0.1:1/0"
"""Names a server that is not there."""


class Side(NamedTuple):
    """One of two libraries under the name `celery`."""

    name: str
    python: str
    path: tuple[Path, ...]
    command: tuple[str, ...]
    """The worker's command line, before the options that both sides take."""

    servers: Callable[[], AbstractContextManager[dict[str, str]]]
    """Servers of one program, or room on them; gives the variables that name it."""

    @contextmanager
    def environment(self) -> Iterator[dict[str, str]]:
        """Everything a process of one program needs to know."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(SETTINGS)}
        path = os.pathsep.join(map(str, (*self.path, BESIDE, PROGRAMS)))
        own = {"PYTHONPATH": path, "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1", "LC_ALL": "C.UTF-8"}
        own["C_FORCE_ROOT"] = "1"  # as root Celery refuses to accept pickles without it
        with self.servers() as named:
            yield {**inherited, **own, **named}


@contextmanager
def both_sides(celery_python: str) -> Iterator[tuple[Side, Side]]:
    """Celery with Redis servers, and Lavoro with a PostgreSQL server."""
    with temporary_cluster() as cluster:
        celery = Side("celery", celery_python, (), ("-m", "celery"), _on_redis)
        lavoro = Side("lavoro", sys.executable, (ROOT / "compat", ROOT), ("-m", "lavoro"), _on_postgres(cluster))
        yield celery, lavoro


@contextmanager
def _on_redis() -> Iterator[dict[str, str]]:
    with temporary_redis() as url:
        yield {"CELERY_BROKER_URL": url, "CELERY_RESULT_BACKEND": url}


def _on_postgres(cluster: Cluster) -> Callable[[], AbstractContextManager[dict[str, str]]]:
    template = cluster.create_database()
    migrate(cluster.url(template))
    cluster.execute(f'ALTER DATABASE "{template}" ALLOW_CONNECTIONS false')
    cluster.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{template}'")
    one_at_a_time = threading.Lock()  # a template is copied by one session at a time

    @contextmanager
    def servers() -> Iterator[dict[str, str]]:
        with one_at_a_time:
            url = cluster.url(cluster.create_database(template=template))
        # The variables that were Celery's are still there after a move: they must not disturb.
        yield {"LAVORO_DATABASE_URL": url, "CELERY_BROKER_URL": NO_REDIS, "CELERY_RESULT_BACKEND": NO_REDIS}

    return servers
