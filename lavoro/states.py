"""The states a task can be in, with Celery's names and sets."""

from __future__ import annotations

PENDING = "PENDING"
"""Waiting, or unknown."""
RECEIVED = "RECEIVED"
STARTED = "STARTED"
"""Running; reported when ``task_track_started`` is on."""
SUCCESS = "SUCCESS"
FAILURE = "FAILURE"
REVOKED = "REVOKED"
REJECTED = "REJECTED"
RETRY = "RETRY"
"""Waiting to be tried again."""
IGNORED = "IGNORED"

READY_STATES = frozenset({SUCCESS, FAILURE, REVOKED})
UNREADY_STATES = frozenset({PENDING, RECEIVED, STARTED, REJECTED, RETRY})
EXCEPTION_STATES = frozenset({RETRY, FAILURE, REVOKED})
PROPAGATE_STATES = frozenset({FAILURE, REVOKED})
ALL_STATES = READY_STATES | UNREADY_STATES | {IGNORED}
