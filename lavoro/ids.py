"""Task ids: time-ordered UUIDs made by the client, and the UUID that stands for any other id."""

from __future__ import annotations

import os
import time
import uuid

_VERSION_AND_VARIANT = (7 << 76) | (2 << 62)
_NAMESPACE = uuid.UUID("6f0c8b52-0a3d-5a6e-9a57-3c1f7d1b9e24")


def uuid7() -> uuid.UUID:
    """Make a UUID of version 7 (RFC 9562), so that index inserts stay at the right edge.

    The 12 bits after the milliseconds hold the fraction of the millisecond (the RFC's method 3): ids made by one
    process sort by the time they were made. The rest comes from the operating system, so that neither ``fork`` nor
    ``random.seed`` can repeat an id.
    """
    milliseconds, rest = divmod(time.time_ns(), 1_000_000)
    noise = int.from_bytes(os.urandom(8), "big") >> 2
    return uuid.UUID(int=milliseconds << 80 | (rest << 12) // 1_000_000 << 64 | noise | _VERSION_AND_VARIANT)


def task_uuid(task_id: str | uuid.UUID) -> uuid.UUID:
    """Return the UUID under which a task of this id is stored.

    Any text may be an id, as in Celery; what is no UUID maps to one of version 5 (RFC 9562). Raises ``TypeError`` for
    anything else.
    """
    if isinstance(task_id, uuid.UUID):
        return task_id
    if not isinstance(task_id, str):
        raise TypeError(f"a task's id must be a text or a UUID, not {type(task_id).__name__}")
    try:
        found = uuid.UUID(task_id)
    except ValueError:
        return uuid.uuid5(_NAMESPACE, task_id)
    return found if str(found) == task_id else uuid.uuid5(_NAMESPACE, task_id)
