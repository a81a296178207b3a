"""Encodes a result: the value that a task has returned becomes the text or the bytes that are stored."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from lavoro import serialization
from lavoro.execution.run_settings import RunSettings
from lavoro.text.printable import told

logger = logging.getLogger("lavoro.task")

_nulls: set[str] = set()
"""The tasks of which a result could not be stored."""


def encode(value: Any, task: Any, options: Mapping[str, Any], settings: RunSettings) -> tuple[str | None, bytes | None]:
    """Return a result as JSON, or its content type as JSON and its bytes; two None where the result is ignored.

    The results of a chord's header are kept for its body.
    """
    ignore = options.get("ignore_result")
    ignored = (task.ignore_result if ignore is None else ignore) and "chord" not in options
    if ignored or (settings.eager and not task.store_eager_result):
        return None, None
    serializer = task.result_serializer
    if serializer == "json":
        text = "null" if value is None else serialization.dumps(value)
        _check_size(len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass")), settings)
        return text, None
    encoded = serialization.encode(value, serializer)
    payload = encoded.data if isinstance(encoded.data, bytes) else encoded.data.encode()
    _check_size(len(payload), settings)
    return serialization.dumps(encoded.content_type), payload


def _check_size(size: int, settings: RunSettings) -> None:
    if size > settings.max_result_size:
        raise ValueError(
            f"it has {size:,} bytes, more than {settings.max_result_size:,} (setting lavoro_max_result_size);"
            " store it elsewhere and return its address"
        )


def warn_of_null(name: str, error: Exception) -> None:
    """Log once for each task that its result is not stored, and how to mend that."""
    if name not in _nulls:
        _nulls.add(name)
        logger.warning(
            "the result of %s cannot be stored, null is stored instead: %s; return plain data, or declare it with"
            " ignore_result=True; lavoro_strict_results=True lets such tasks fail",
            name, told(error),
        )  # fmt: skip
