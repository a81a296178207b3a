"""Completes the alias, when it is imported, with the names that Celery's test files import and only some tests use."""

from __future__ import annotations

import os
import socket
import sys
from typing import Any

from lavoro.execution.context import Context
from tests.celery_suite.stand_ins import Finder


def _anon_nodename(hostname: str | None = None, prefix: str = "gen") -> str:
    return f"{prefix}{os.getpid()}@{hostname or socket.gethostname()}"


class _KeyValueStore:
    """Stands for the result backends that are key-value stores: that of Lavoro is none."""


def _payload(request: Context) -> tuple[Any, Any, dict[str, Any]]:
    """Return the body of a message of Celery's, which two tests read from a private attribute of its request."""
    embedded = {name: getattr(request, name) for name in ("callbacks", "errbacks", "chain", "chord")}
    return request.args, request.kwargs, embedded


TOOLS: dict[str, Any] = {
    "celery.backends.base.BaseKeyValueStoreBackend": _KeyValueStore,
    "celery.utils.nodenames.anon_nodename": _anon_nodename,
}

Context._Request__payload = property(_payload)  # type: ignore[attr-defined]
sys.meta_path.insert(0, Finder(TOOLS))
