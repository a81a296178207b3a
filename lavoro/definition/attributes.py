"""Attributes of tasks that are computed when they are read: defaults of settings, and the application."""

from __future__ import annotations

import datetime as dt
from typing import Any

from lavoro.definition.comparison import Definition
from lavoro.runtime import current_app


class FromSettings:
    """An attribute of tasks whose default is a setting; it is read late, as all settings are."""

    def __init__(self, setting: str) -> None:
        self.setting = setting

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, task: Any, owner: Any = None) -> Any:
        app = task.app if task is not None else owner._app
        if app is None:
            return None
        value = app.conf[self.setting]
        return value.total_seconds() if isinstance(value, dt.timedelta) else value


class BoundApp:
    """The application of a task: its own, else that of its class, else the current one, which binds the task now."""

    def __get__(self, task: Any, owner: Any = None) -> Any:
        app = owner._app or current_app.get()
        if task is not None and app is not None:
            task.__definition__ = task.__definition__ or Definition(owner, dict(vars(task)))
            task.bind(app)
        return app


def written(cls: type, name: str) -> Any:
    """Return an attribute as a class or one of its bases has it, without asking a property for its value."""
    return next((vars(base)[name] for base in cls.__mro__ if name in vars(base)), None)


def from_settings(setting: str) -> Any:
    """Return a ``FromSettings``, typed as what it yields."""
    return FromSettings(setting)
