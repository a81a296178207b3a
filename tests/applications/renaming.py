"""Gives an application Celery's import lines back, by the table of the guide for those who come from Celery."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "migrate-from-celery.md"
APPLICATIONS = Path(__file__).parent

_LINE = r"from ([\w.]+) import ([\w, ]+)"
_ROW = re.compile(rf"^\| `{_LINE}` \| `{_LINE}` \|$", re.MULTILINE)
_IMPORT = re.compile(rf"^( *){_LINE}$", re.MULTILINE)


class Table:
    """The import lines of the guide: Celery's, and Lavoro's for them."""

    def __init__(self) -> None:
        rows = [row for row in _ROW.findall(GUIDE.read_text()) if row[0].partition(".")[0] == "celery"]
        self.names = {(ours, name): theirs for theirs, _, ours, names in rows for name in names.split(", ")}
        self.modules = {ours: theirs for theirs, _, ours, _ in rows if ours != "lavoro"}

    def with_celery(self, text: str) -> str:
        """Return the text of a module with Celery's import lines."""
        return _IMPORT.sub(self._line, text)

    def _line(self, match: re.Match[str]) -> str:
        indent, module, names = match.groups()
        if module.partition(".")[0] != "lavoro":
            return match[0]
        by_module: dict[str, list[str]] = {}
        for name in names.split(", "):
            by_module.setdefault(self._module(module, name), []).append(name)
        return "\n".join(f"{indent}from {found} import {', '.join(each)}" for found, each in by_module.items())

    def _module(self, module: str, name: str) -> str:
        return self.names.get((module, name)) or self.modules.get(module, module)


def copy(name: str, to: Path, table: Table | None = None) -> Path:
    """Copy an application, with the import lines of Celery if there is a table; return its folder."""
    folder = Path(shutil.copytree(APPLICATIONS / name, to / name, ignore=shutil.ignore_patterns("__pycache__")))
    if table is not None:
        for file in folder.rglob("*.py"):
            file.write_text(table.with_celery(file.read_text()))
    return folder
