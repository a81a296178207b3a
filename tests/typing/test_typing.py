"""What mypy --strict says of a user's code: calls are checked against the functions, results have their types."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

USAGE = Path(__file__).with_name("usage.py")


@pytest.mark.slow
def test_users_code_is_checked(tmp_path: Path) -> None:
    api = pytest.importorskip("mypy.api")
    options = ["--strict", "--config-file=", "--python-version=3.10", "--follow-imports=silent"]
    output, errors, _ = api.run([*options, f"--cache-dir={tmp_path}", str(USAGE)])
    assert errors == ""
    found = {(int(line), code) for line, code in re.findall(r"usage\.py:(\d+): error: .*\[([a-z-]+)\]", output)}
    assert found == _expected(), output


def _expected() -> set[tuple[int, str]]:
    """Return the lines that say which errors mypy must find in them."""
    marked = ((number, line.partition("# E: ")[2]) for number, line in enumerate(USAGE.read_text().splitlines(), 1))
    return {(number, code) for number, codes in marked if codes for code in codes.split(",")}
