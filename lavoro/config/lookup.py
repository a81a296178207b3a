"""Celery's other ways to find a setting: by a second name, in the environment, by the parts of its name."""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from typing import Any, NamedTuple

from lavoro.config.absent import ABSENT, UNREAD
from lavoro.config.defaults import ANY, DEFAULTS, Default
from lavoro.config.old_names import OLD_NAMES

NAMESPACES = (
    "beat", "broker", "cache", "cassandra", "s3", "azureblockblob", "gcs", "control", "couchbase", "arangodb",
    "mongodb", "cosmosdbsql", "event", "redis", "result", "elasticsearch", "security", "database", "task",
    "worker", "lavoro",
)  # fmt: skip
"""The first words of settings' names, in the order in which they are tried."""


class Found(NamedTuple):
    """A setting by its parts: ``worker`` and ``concurrency``; ``type`` has its default and what it may be."""

    namespace: str | None
    key: str
    type: Default


class Fallback:
    """A setting that is read as an attribute: an environment variable goes before it, other names come after it."""

    def __init__(self, *others: str, variable: str | None = None) -> None:
        self._others, self._variable = others, variable

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, conf: MutableMapping[str, Any], owner: type) -> Any:
        told = os.environ.get(self._variable) if self._variable else None
        values = (getattr(conf, name, None) for name in self._others)
        return told or next((value for value in (conf.get(self._name), *values) if value is not None), None)

    def __set__(self, conf: MutableMapping[str, Any], value: Any) -> None:
        conf[self._name] = value


class Finding(MutableMapping[str, Any]):
    """The methods of settings beside those of a mapping. ``conf[name]`` is the setting alone."""

    broker_url = Fallback("broker_host", variable="CELERY_BROKER_URL")
    broker_read_url = Fallback("broker_url", variable="CELERY_BROKER_READ_URL")
    broker_write_url = Fallback("broker_url", variable="CELERY_BROKER_WRITE_URL")
    result_backend = Fallback(variable="CELERY_RESULT_BACKEND")
    task_default_exchange = Fallback("task_default_queue")
    task_default_routing_key = Fallback("task_default_queue")
    timezone = Fallback("TIME_ZONE")  # Django's

    def first(self, *names: str) -> Any:
        """Return the first of these settings that is not None."""
        return first(self, *names)

    def without_defaults(self) -> dict[str, Any]:
        """Return a copy of the settings that code set or configuration objects hold."""
        return dict(self.changes)

    def value_set_for(self, key: str) -> bool:
        """Tell whether code or a configuration object gives the setting."""
        return OLD_NAMES.get(key, key) in self.changes

    def finalize(self) -> Finding:
        """Read the configuration now."""
        _ = self.changes
        return self

    def find_option(self, name: str, namespace: str = "") -> Found:
        """Find a setting by its name or by the last part of it, first in ``namespace``; raises KeyError.

        >>> Settings().find_option("disable_rate_limits")[:2]
        ('worker', 'disable_rate_limits')
        """
        name = name.lower()
        for word in (namespace.lower(), *NAMESPACES):
            if word and (found := _described(f"{word}_{name}")) is not None:
                return Found(word, name, found)
        if (found := _described(name)) is not None:
            return Found(None, name, found)
        raise KeyError(name)

    def find_value_for_key(self, name: str, namespace: str = "celery") -> Any:
        """Return the value of the setting that ``find_option`` finds."""
        return self.get_by_parts(*self.find_option(name, namespace)[:2])

    def get_by_parts(self, *parts: str | None) -> Any:
        """Return a setting by the parts of its name: ``get_by_parts("worker", "concurrency")``."""
        return self["_".join(part for part in parts if part)]

    @property
    def changes(self) -> dict[str, Any]:
        """The settings that code set or configuration objects hold."""
        raise NotImplementedError


def first(conf: MutableMapping[str, Any], *names: str) -> Any:
    """Return the first of these settings that is not None."""
    return next((value for name in names if (value := conf.get(name)) is not None), None)


def _described(name: str) -> Default | None:
    if name in UNREAD:
        return Default(UNREAD[name], ABSENT[name].sentence, ANY)
    return DEFAULTS.get(name)
