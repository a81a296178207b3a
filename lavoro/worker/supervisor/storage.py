"""The database as the config names it, and the check that its tables are those of this release."""

from __future__ import annotations

import logging

from psycopg.errors import InsufficientPrivilege

from lavoro.exceptions import ImproperlyConfigured, OperationalError
from lavoro.store import embedded
from lavoro.store.connection import Connector
from lavoro.store.database import Database
from lavoro.store.schema import migrate as migrations
from lavoro.store.schema.roles import check_worker
from lavoro.worker.config import WorkerConfig

logger = logging.getLogger("lavoro.worker")


def database_of(config: WorkerConfig) -> Database:
    """Return the database that the config names; nothing is connected yet."""
    url = config.url or embedded.EmbeddedPostgres.at(config.data_dir).url
    connector = Connector(url, timeout=config.connect_timeout, pooled=config.pooled, direct_url=config.direct_url)
    database = Database(connector, schema=config.schema)
    if not database.listens:
        logger.warning(
            "behind a pooler there are no notifications of new tasks: workers poll; set lavoro_direct_url to get them"
        )
    return database


def name_of(config: WorkerConfig) -> str:
    """Name the database that the config names, without its password."""
    return embedded.shown(config.url, config.data_dir)


def check(database: Database, config: WorkerConfig) -> None:
    """Raise ImproperlyConfigured unless tables and rights are a worker's; the embedded database's are made so."""
    if config.url is None:
        migrations.migrate(database)
    else:
        try:
            migrations.check(database)
        except OperationalError as error:
            if isinstance(error.__cause__, InsufficientPrivilege):  # no outage: another try does not help
                raise ImproperlyConfigured(str(error)) from error
            raise
        check_worker(database)
