"""Comments and docstrings of the package name their subjects."""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import lavoro

PACKAGE = Path(lavoro.__file__).parent
BEGINNING = re.compile(r"(?:#|\"\"\")\s*(?:What|Whatever|Who|Whoever|Somebody|Nobody|Everybody)\b", re.IGNORECASE)
"""A clause in place of a noun, or a subject without a name."""
NAMELESS = re.compile(r"\b(?:whoever|somebody|nobody|everybody)\b", re.IGNORECASE)


def prose(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the comments and the texts in three quotes, each with its line."""
    for token in tokenize.generate_tokens(io.StringIO(path.read_text()).readline):
        if token.type == tokenize.COMMENT or (token.type == tokenize.STRING and token.string.startswith('"""')):
            yield token.start[0], token.string


def test_sentences_name_their_subjects() -> None:
    """So a reader who does not know the code need not guess which worker, caller or task is meant."""
    found = [
        f"{path.relative_to(PACKAGE)}:{line}: {text.strip()}"
        for path in sorted(PACKAGE.rglob("*.py"))
        for line, text in prose(path)
        if BEGINNING.match(text) or NAMELESS.search(text)
    ]
    assert found == []
