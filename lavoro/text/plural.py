"""A number with its noun: one task, two tasks."""

from __future__ import annotations


def counted(count: int, one: str, many: str = "") -> str:
    """Write a number and what is counted; ``many`` is the plural where an s is not enough.

    >>> counted(1, "task waits", "tasks wait"), counted(1204, "task")
    ('1 task waits', '1,204 tasks')
    """
    return f"{count:,} {one if count == 1 else many or one + 's'}"
