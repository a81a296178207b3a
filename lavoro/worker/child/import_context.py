"""The context of the application: tasks see its variables as they were after the import and ``worker_process_init``."""

from __future__ import annotations

import contextvars
import decimal
from collections.abc import Callable
from typing import Any


def inherited() -> Callable[..., Any]:
    """Return a function that runs another one in a copy of the context of this thread.

    Threads and greenlets begin with an empty context. Each run of a task copies the context of its slot, as it did
    before, so this costs a task nothing. Python keeps the settings of ``decimal`` in the context as one object, which
    tasks at once may change: each copy gets its own.
    """
    context = contextvars.copy_context()
    numbers = next((value for value in context.values() if isinstance(value, decimal.Context)), None)
    if numbers is not None:
        context.run(decimal.setcontext, numbers.copy())
    return context.run
