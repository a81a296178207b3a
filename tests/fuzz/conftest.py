"""The database that is shared by the fuzzed rows."""

from __future__ import annotations

from tests.worker.conftest import module_url

__all__ = ["module_url"]
