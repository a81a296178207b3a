"""The fault matrix on paper answers all of its rows, with tests that exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "internals" / "reliability.md"
ROW = re.compile(r"^\| (\d+) \| ([^|]+) \| ([^|]*) \| ([^|]*) \|$", re.MULTILINE)
TEST = re.compile(r"\[`(test_\w+)`\]\(([^)]+)\)")
TESTED = {*range(1, 12), *range(14, 19), 22, *range(25, 29), 32, *range(35, 40), *range(43, 49), 50, 51}
"""Rows for which no excuse counts."""
ROWS = {int(number): (tests, note.strip()) for number, _, tests, note in ROW.findall(PAGE.read_text("utf-8"))}


def test_all_rows_are_there() -> None:
    assert list(ROWS) == list(range(1, 61))


@pytest.mark.parametrize("number", range(1, 61))
def test_row_is_answered(number: int) -> None:
    """By tests that exist, or where that may be by words."""
    tests, note = ROWS[number]
    named = TEST.findall(tests)
    assert named or (note and number not in TESTED)
    for name, file in named:
        tree = ast.parse((PAGE.parent / file).read_text("utf-8"))
        assert name in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}, file
