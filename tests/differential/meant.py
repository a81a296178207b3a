"""The differences that are meant; each has a sentence here, and its row in the guide for those who come from Celery."""

from __future__ import annotations

from tests.differential.compare import Meant

MEANT: tuple[Meant, ...] = ()
