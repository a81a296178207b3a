"""The database that the settings of an application name."""

from __future__ import annotations

from functools import partial
from typing import Any

from lavoro.config.settings import Settings
from lavoro.store import embedded
from lavoro.store.connection import Connector
from lavoro.store.database import Database
from lavoro.store.schema.migrate import migrate


def database_of(conf: Settings) -> Database:
    """Return the database that the settings name; the embedded one, where they name none, is brought up to date."""
    url, options = conf.database_url, dict[str, Any](conf.database_engine_options)
    options.setdefault("pool_size", conf.broker_pool_limit or 0)
    options.setdefault("pool_timeout", conf.seconds("broker_pool_acquire_timeout"))
    connector = Connector(
        url or partial(embedded.url, conf.lavoro_data_dir),
        timeout=conf.seconds("broker_connection_timeout") or 0,
        pooled=conf["lavoro_pooled"],
        direct_url=conf["lavoro_direct_url"],
    )
    database = Database(connector, schema=conf.lavoro_schema, engine_options=options)
    if url is None:
        migrate(database)
    return database
