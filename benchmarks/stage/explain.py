"""Has the server explain what a connection runs, with auto_explain: as it is sent, prepared and planned for real."""

from __future__ import annotations

import re
from typing import Any

import psycopg
from psycopg.errors import Diagnostic

from benchmarks.values import Skipped

WIDTH = 300
_SETTINGS = (
    "load 'auto_explain'", "set client_min_messages = log", "set auto_explain.log_analyze = on",
    "set auto_explain.log_buffers = on", "set auto_explain.log_wal = on", "set auto_explain.log_min_duration = 0",
)  # fmt: skip
_PLAN = re.compile(r"^\w[^\n]*\(cost=.*", re.DOTALL | re.MULTILINE)


def explain(connection: psycopg.Connection[Any]) -> list[str]:
    """Return a list that fills with EXPLAIN (ANALYZE, BUFFERS, WAL) of each statement that the connection runs."""
    plans: list[str] = []

    def note(diagnostic: Diagnostic) -> None:
        if plan := _PLAN.search(diagnostic.message_primary or ""):
            plans.append("\n".join(_shortened(line) for line in plan[0].splitlines()))

    try:
        for setting in _SETTINGS:
            connection.execute(setting.encode())
    except psycopg.Error as error:
        raise Skipped(f"plans, for auto_explain cannot be used (it takes a superuser): {error}") from error
    connection.add_notice_handler(note)
    return plans


def _shortened(line: str) -> str:
    """Long lists of values are no news."""
    return line if len(line) <= WIDTH else f"{line[:WIDTH]} ..."
