"""The database as the plan names it, and the check that its tables are those of this release."""

from __future__ import annotations

import logging
from typing import Any

from psycopg.errors import InsufficientPrivilege

from lavoro.exceptions import ImproperlyConfigured, OperationalError
from lavoro.store import embedded
from lavoro.store.database import Database
from lavoro.store.schema import migrate as migrations
from lavoro.store.schema.roles import check_worker
from lavoro.worker.config import Plan

logger = logging.getLogger("lavoro.worker")


def database_of(plan: Plan) -> Database:
    """Return the database that the plan names; nothing is connected yet."""
    url: Any = plan.url or embedded.EmbeddedPostgres.at(plan.data_folder).url
    database = Database(
        url,
        schema=plan.schema,
        connect_timeout=plan.connect_timeout,
        pooled=plan.pooled,
        direct_url=plan.direct_url,
    )
    if not database.listens:
        logger.warning(
            "behind a pooler nothing can be heard of new tasks: workers poll; set lavoro_direct_url to be notified"
        )
    return database


def name_of(plan: Plan) -> str:
    """Name the database that the plan names, without its password."""
    return embedded.shown(plan.url, plan.data_folder)


def check(database: Database, plan: Plan) -> None:
    """Raise ImproperlyConfigured unless tables and rights are a worker's; the embedded database's are made so."""
    if plan.url is None:
        migrations.migrate(database)
    else:
        try:
            migrations.check(database)
        except OperationalError as error:
            if isinstance(error.__cause__, InsufficientPrivilege):  # no outage: another try does not help
                raise ImproperlyConfigured(str(error)) from error
            raise
        check_worker(database)
