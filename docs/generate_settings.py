"""Writes reference/settings.md from the settings that the package knows: ``python docs/generate_settings.py``."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

from lavoro.config.absent import ABSENT, SETTINGS
from lavoro.config.defaults import DEFAULTS, table

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "docs/reference/settings.md"

_HEAD = """\
# Settings

<!-- Written by docs/generate_settings.py: change lavoro/config/defaults.py or lavoro/config/absent.py and run that. -->

Settings have Celery's lower-case names; those that begin with `lavoro_` are Lavoro's own. Durations are seconds.

Set them in code (`app.conf.task_default_queue = "mail"`, `app.conf.update(...)`, `Lavoro("shop", timezone="UTC")`),
in a module or dict (`app.config_from_object("shop.config")`), or in Flask's configuration (`app.config["LAVORO"]`).
A setting that code assigns wins over configuration objects, before and after.

A worker checks them when it starts, and says which value is wrong. Names that are not in this list are kept, can be
read, and change nothing; one that is nearly a known name warns when it is set.
"""
_REFUSED = """\
## Settings of Celery that are refused

Ignoring them would break a promise, so the worker does not start. `False` is refused for those that are on by default.

| setting | instead |
|---|---|
"""
_WARNED = """\
## Settings of Celery that are warned of

This release does not have what they ask for. The worker says so when it starts, and goes on.

| setting | why, or what to do instead |
|---|---|
"""
_UNREAD = "**Not read by this release.** "


def page() -> str:
    """Return the page as Markdown."""
    unread = unread_settings()
    sections = (_section(title, names, unread) for title, names in _sections())
    return "\n".join([_HEAD, *sections, _REFUSED + _absent("refused"), _WARNED + _absent("warned")])


def _absent(happens: str) -> str:
    rows = [(name, ABSENT[name].sentence) for name in ABSENT if name in SETTINGS and ABSENT[name].happens == happens]
    return "".join(f"| `{name}` | {_cell(sentence)} |\n" for name, sentence in rows)


def unread_settings() -> set[str]:
    """Return the settings that no code of the package asks for: they are accepted and checked, and change nothing."""
    trees = {file: ast.parse(file.read_text()) for file in (ROOT / "lavoro").rglob("*.py")}
    attributes = dict(_declarations(trees[ROOT / "lavoro/task.py"]))
    tables = ("settings.py", "defaults.py", "absent.py", "options.py")
    asked = {word for file, tree in trees.items() if file.name not in tables for word in _words(tree)}
    unread = {name for name in DEFAULTS if name not in asked and attributes.get(name) not in asked}
    return unread - {"broker_read_url", "broker_write_url"}  # all there is to do about them is the check


def _declarations(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Yield setting and attribute of each ``attribute: type = from_settings("setting")`` in the class of tasks."""
    for node in ast.walk(tree):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and _is_declaration(node.value):
            yield ast.literal_eval(node.value.args[0]), node.target.id  # type: ignore[union-attr]


def _is_declaration(node: ast.AST | None) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "from_settings"


def _words(tree: ast.AST) -> Iterator[str]:
    """Yield every attribute that is read and every text, but for the declarations' own."""
    declared = {id(argument) for node in ast.walk(tree) if _is_declaration(node) for argument in node.args}  # type: ignore[attr-defined]
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load) and not _is_of_a_module(node):
            yield node.attr
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in declared:
            yield node.value


def _is_of_a_module(node: ast.Attribute) -> bool:
    return isinstance(node.value, ast.Name) and node.value.id == "dt"  # dt.timezone is no setting


def _sections() -> Iterator[tuple[str, list[str]]]:
    """Yield the headings that the comments in ``DEFAULTS`` are, each with its settings."""
    source = (ROOT / "lavoro/config/defaults.py").read_text().partition("DEFAULTS: dict")[2].partition("\n}\n")[0]
    _, *parts = re.split(r"^    # (.+)$", source, flags=re.MULTILINE)
    for title, text in zip(parts[::2], parts[1::2], strict=True):
        yield title, re.findall(r'^    "(\w+)": Default\(', text, flags=re.MULTILINE)


_TABLE = {name: (default, doc) for name, default, doc in table()}


def _section(title: str, names: list[str], unread: set[str]) -> str:
    rows = (f"| `{name}` | `{_shown(_TABLE[name][0])}` | {_meaning(name, unread)} |\n" for name in names)
    return f"## {title}\n\n| setting | default | |\n|---|---|---|\n" + "".join(rows)


def _meaning(name: str, unread: set[str]) -> str:
    return (_UNREAD if name in unread else "") + _cell(_TABLE[name][1])


def _shown(value: Any) -> str:
    if isinstance(value, timedelta):
        return "1 day" if value.days == 1 else f"{value.days} days"
    if isinstance(value, int) and value > 9_999:
        return f"{value:_}"
    return _cell(repr(value))


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    TARGET.write_text(page())
