"""The options of a task that are hooks, functions before and after each of its runs."""

from __future__ import annotations

from typing import Any

from lavoro.calling.options import checked
from lavoro.execution.coroutines import refuse_unawaited

HOOKS = ("before", "after")
"""Their names, which a class may also have as those of its own methods."""


def checked_option(task: str, option: str, value: Any) -> Any:
    """Return an option of a task in its usual form; raises ImproperlyConfigured for a value that it cannot have."""
    usual = checked(task, option, value)
    for function in (usual or ()) if option in HOOKS else ():
        refuse_unawaited(f"{task}, option {option}", function)
    return usual
