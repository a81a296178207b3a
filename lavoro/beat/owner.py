"""The name under which an application keeps the entries of its code."""

from __future__ import annotations

from typing import Any


def owner_of(app: Any) -> str:
    """Return the application's own name, or that of its variable."""
    return app.main or app.find_name()  # type: ignore[no-any-return]
