"""Writes reference/settings.md from the settings that the package knows: ``python docs/generate_settings.py``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

from lavoro.config.absent import ABSENT, SETTINGS
from lavoro.config.defaults import table

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
_HAPPENS = {
    "refused": "**Refused**: see [why](#settings-of-celery-that-are-refused).",
    "warned": "**Changes nothing**, and the worker warns: see [why](#settings-of-celery-that-are-warned-of).",
    "ignored": "**Changes nothing**: {}.",
}
"""The effect of a setting that Lavoro knows and this release does not support."""


def page() -> str:
    """Return the page as Markdown."""
    sections = (_section(title, names) for title, names in _sections())
    return "\n".join([_HEAD, *sections, _REFUSED + _absent("refused"), _WARNED + _absent("warned")])


def _absent(happens: str) -> str:
    rows = [(name, ABSENT[name].sentence) for name in ABSENT if name in SETTINGS and ABSENT[name].happens == happens]
    return "".join(f"| `{name}` | {_cell(sentence)} |\n" for name, sentence in rows)


def _sections() -> Iterator[tuple[str, list[str]]]:
    """Yield the headings that the comments in ``DEFAULTS`` are, each with its settings."""
    source = (ROOT / "lavoro/config/defaults.py").read_text().partition("DEFAULTS: dict")[2].partition("\n}\n")[0]
    _, *parts = re.split(r"^    # (.+)$", source, flags=re.MULTILINE)
    for title, text in zip(parts[::2], parts[1::2], strict=True):
        yield title, re.findall(r'^    "(\w+)": Default\(', text, flags=re.MULTILINE)


_TABLE = {name: (default, doc) for name, default, doc in table()}


def _section(title: str, names: list[str]) -> str:
    rows = (f"| `{name}` | `{_shown(_TABLE[name][0])}` | {_cell(_meaning(name))} |\n" for name in names)
    return f"## {title}\n\n| setting | default | |\n|---|---|---|\n" + "".join(rows)


def _meaning(name: str) -> str:
    doc = _TABLE[name][1]
    absent = ABSENT.get(name)
    return f"{doc} {_HAPPENS[absent.happens].format(absent.sentence)}" if absent else doc


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
