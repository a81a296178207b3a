"""Tells whether something of an application looks at each of its calls, so that none may be made in a shorter way."""

from __future__ import annotations

from typing import Any

from lavoro import signals


def calls_are_watched(app: Any) -> bool:
    """Return whether there are receivers of signals, middleware, or a ``send_task`` of the application's own."""
    return bool(
        signals.before_task_publish
        or signals.after_task_publish
        or app.middleware.send is not None
        or app.replaced_send_task is not None
    )
