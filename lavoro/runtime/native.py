"""The functions of the standard library as they were before gevent patched them."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any


def unpatched(module: str, name: str) -> Any:
    """Return a function of the standard library as it was before gevent patched it, if it did."""
    monkey = sys.modules.get("gevent.monkey")
    return monkey.get_original(module, name) if monkey else getattr(import_module(module), name)
