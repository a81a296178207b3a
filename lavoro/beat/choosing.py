"""Finds the scheduler class that an application names; Celery's own two stand for Lavoro's scheduler."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Any

from lavoro.beat.scheduler import PersistentScheduler, Scheduler
from lavoro.config.settings import symbol
from lavoro.exceptions import ImproperlyConfigured

GROUPS = ("lavoro.beat_schedulers", "celery.beat_schedulers")
"""Entry points that give short names to scheduler classes."""
_BUILTIN = {
    f"{package}.beat{mark}{cls.__name__}"
    for package in ("celery", "lavoro")
    for mark in ":."
    for cls in (Scheduler, PersistentScheduler)
}


def class_of(named: Any, groups: tuple[str, ...] = GROUPS) -> Any:
    """Return the class of a name, a dotted path, or itself; None for none, and for the classes of Celery.

    Raises ``ImproperlyConfigured`` if it cannot be imported.
    """
    if isinstance(named, str) and named:
        named = None if named in _BUILTIN else _imported(named, groups)
    if named is None or named == "" or named in (Scheduler, PersistentScheduler):
        return None
    if not callable(named):
        raise ImproperlyConfigured(f"the scheduler must be a class or its dotted path, not {named!r}")
    return named


def own_of(app: Any) -> Any:
    """Return the class of the setting ``beat_scheduler``; None for Lavoro's scheduler."""
    return class_of(app.conf["beat_scheduler"])


def _imported(name: str, groups: tuple[str, ...]) -> Any:
    for group in groups:
        for found in entry_points(group=group, name=name):
            name = found.value
    try:
        return symbol(name)
    except (ImportError, ValueError) as error:
        raise ImproperlyConfigured(
            f"the scheduler class {name!r} cannot be imported ({error}): correct beat_scheduler or --scheduler, or"
            " leave it out: Lavoro keeps schedules in its own tables"
        ) from error
