"""The statements of ``sql/``, one file each, for one schema."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

from lavoro.config.defaults import SCHEMA
from lavoro.exceptions import ImproperlyConfigured

_COMMENT = re.compile(r"\s*--.*")
"""Also a mark, ``--@name``, at the end of a line: the tests put another line in its place and must then fail."""
_PARAMETER = re.compile(r"%\((\w+)\)s")


def read(folder: Path) -> dict[str, str]:
    """Return the statements of a folder by name."""
    return {path.stem: path.read_text(encoding="utf-8") for path in folder.glob("*.sql")}


FOLDER = Path(__file__).parent / "sql"
TEXTS = read(FOLDER)
"""The files by name, read at the start: a process that can open no more files must still store its outcomes."""


def without_comments(text: str) -> str:
    """Return a statement as the server gets it."""
    lines = (_COMMENT.sub("", line) for line in text.splitlines())
    return "\n".join(line for line in lines if line)


def check_schema(schema: str) -> str:
    """Return the name if it can be a schema of Lavoro's, else raise ``ImproperlyConfigured``."""
    if not SCHEMA.accepts(schema):
        raise ImproperlyConfigured(f"lavoro_schema must be {SCHEMA.text}, not {schema!r}")
    return schema


def render(text: str, schema: str) -> str:
    """Write SQL of this package for a schema.

    ``{schema}`` becomes its quoted name. ``{prefix}``, with which channels and lock keys begin, becomes its plain name.
    """
    check_schema(schema)
    return text.replace("{schema}", f'"{schema}"').replace("{prefix}", schema)


@lru_cache(maxsize=512)
def statement(name: str, schema: str = "lavoro") -> str:
    """Return the statement of that name, without its comments, for a schema."""
    return render(without_comments(TEXTS[name]), schema)


@lru_cache(maxsize=512)
def numbered(name: str, schema: str = "lavoro") -> tuple[bytes, tuple[str, ...]]:
    """Return a statement as libpq reads it, with ``$1`` for its first parameter, and the parameters' names."""
    text = statement(name, schema)
    names = tuple(dict.fromkeys(_PARAMETER.findall(text)))
    return _PARAMETER.sub(lambda found: f"${names.index(found[1]) + 1}", text).encode(), names
