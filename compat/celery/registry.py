"""Celery's old module with the tasks of the current application, which OpenTelemetry imports."""

from typing import Any

from lavoro.public import current_app


def __getattr__(name: str) -> Any:
    if name == "tasks":
        return current_app.tasks
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
