"""Small tools that Celery's test files import from Celery, and that say nothing about Celery."""

from __future__ import annotations

import pickle
from datetime import datetime, timezone, tzinfo
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock
from zoneinfo import ZoneInfo


class ContextMock(MagicMock):
    """A mock that is a context manager; an error inside the block goes on."""

    def __enter__(self) -> ContextMock:
        return self

    def __exit__(self, *_: object) -> None: ...


class _Zones:
    utc = timezone.utc

    @staticmethod
    def get_timezone(name: str | tzinfo) -> tzinfo:
        return ZoneInfo(name) if isinstance(name, str) else name


def _localized(moment: datetime, zone: tzinfo) -> datetime:
    return moment.astimezone(zone)


def _to_utc(moment: datetime) -> datetime:
    return moment.astimezone(timezone.utc) if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


TOOLS: dict[str, Any] = {
    "celery.contrib.testing.mocks.ContextMock": ContextMock,
    "celery.utils.objects.Bunch": SimpleNamespace,
    "celery.utils.serialization.pickle": pickle,
    "celery.utils.time.timezone": _Zones,
    "celery.utils.time.localize": _localized,
    "celery.utils.time.to_utc": _to_utc,
}
"""By the name under which the test files import them."""
