"""The parts that the verbs of ``lavoro schedule`` share."""

from __future__ import annotations

import datetime as dt
from typing import Any
from zoneinfo import ZoneInfo

from lavoro.app import Lavoro
from lavoro.cli.schemas import fields
from lavoro.store.entries import StoredSchedule

SCHEDULE = fields(StoredSchedule, state=str)
"""The JSON Schema of a schedule."""


def as_dict(stored: StoredSchedule) -> dict[str, Any]:
    """Return the fields of a schedule, and its state."""
    return {**stored._asdict(), "state": stored.state}


def zone_of(app: Lavoro, stored: StoredSchedule) -> dt.tzinfo:
    """Return the zone in which the times of a schedule are shown: its own, or the application's."""
    try:
        return ZoneInfo(stored.zone) if stored.zone else app.timezone
    except (KeyError, ValueError, OSError):  # a zone that there is not
        return app.timezone
