"""Celery's modules and public names, as recorded in ``surface.json``; read when the first absent name is asked for."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any


@cache
def modules() -> dict[str, dict[str, Any]]:
    """Return the names of each module with what is recorded of them."""
    recorded: dict[str, dict[str, Any]] = json.loads(Path(__file__).with_name("surface.json").read_text())
    return recorded
