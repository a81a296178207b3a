"""Writes the options and JSON of each verb into reference/cli.md, from the commands: ``python docs/generate_cli.py``.

The sentences between these parts are written by hand and stay. The outputs that the page shows are written by
``python -m tests.doors.cli_outputs``, which runs the commands.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from lavoro.cli import cli
from lavoro.cli.exits import MEANINGS
from lavoro.cli.schemas import JsonOption

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "docs/reference/cli.md"
SCHEMAS = ROOT / "docs/reference/cli.schema.json"

_PART = re.compile(r"<!-- generated: ([\w -]+) -->\n(.*?)<!-- end -->\n", re.DOTALL)
_NAMES = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false", "null": "null"}


def page(text: str) -> str:
    """Return the page with each generated part as the commands are now."""
    return _PART.sub(lambda found: f"<!-- generated: {found[1]} -->\n{_part(found[1])}<!-- end -->\n", text)


def verbs(command: click.Command = cli, name: str = "lavoro") -> Iterator[tuple[str, click.Command]]:
    """Yield each verb with its name, those of groups behind the groups."""
    if isinstance(command, click.Group):
        for inner in command.commands:
            found = command.commands[inner]
            yield f"{name} {inner}", found
            yield from verbs(found, f"{name} {inner}")


def schemas() -> dict[str, Any]:
    """Return the JSON Schema of each verb that has the option ``--json``."""
    found = {name: _json_of(command) for name, command in verbs()}
    return {name: option.schema for name, option in found.items() if option is not None}


def _part(name: str) -> str:
    if name == "exit codes":
        rows = "".join(f"| {code.value} | {meaning} |\n" for code, meaning in MEANINGS.items())
        return f"| code | meaning |\n|---|---|\n{rows}"
    if name == "lavoro":
        return _options(cli)
    command = dict(verbs())[name]
    option = _json_of(command)
    printed = "" if option is None else f"\n`--json` prints:\n\n```text\n{_shape(option.schema)}\n```\n"
    usage = f"```text\n{command.get_usage(_context(command, name)).removeprefix('Usage: ')}\n```\n\n"
    return f"{usage}{_options(command)}{printed}"


def _context(command: click.Command, name: str) -> click.Context:
    return click.Context(command, info_name=name, max_content_width=10_000, terminal_width=10_000)


def _options(command: click.Command) -> str:
    rows = "".join(_row(each) for each in command.params if isinstance(each, click.Option) and not each.hidden)
    return f"| option | default | |\n|---|---|---|\n{rows}"


def _row(option: click.Option) -> str:
    names = ", ".join(f"`{name}`" for name in [*option.opts, *(each for each in option.secondary_opts if each.strip())])
    default = str(option.envvar) if option.envvar else str(option.default)
    shown = f"`{default}`" if option.envvar or option.show_default else ""
    choices = ""
    if isinstance(option.type, click.Choice):
        choices = f" One of {', '.join(f'`{choice}`' for choice in option.type.choices)}."
    return f"| {names} | {shown} | {(option.help or '').replace('|', chr(92) + '|')}{choices} |\n"


def _json_of(command: click.Command) -> JsonOption | None:
    return next((each for each in command.params if isinstance(each, JsonOption)), None)


def _shape(schema: dict[str, Any], depth: int = 0) -> str:
    """Write a schema as JSON whose values are words."""
    if "anyOf" in schema:
        return " or ".join(_shape(each, depth) for each in schema["anyOf"])
    if "enum" in schema:
        return " or ".join(json.dumps(each) for each in schema["enum"])
    kind = schema.get("type")
    if kind == "array":
        return f"[{_shape(schema['items'], depth)}, ...]" if "items" in schema else "[...]"
    if kind == "object" and "properties" in schema:
        space = "  " * (depth + 1)
        inner = [f"{space}{json.dumps(name)}: {_shape(each, depth + 1)}" for name, each in schema["properties"].items()]
        return "{\n" + ",\n".join(inner) + f"\n{'  ' * depth}}}"
    if kind == "object":
        inner_schema = schema.get("additionalProperties")
        return f"{{name: {_shape(inner_schema, depth)}, ...}}" if isinstance(inner_schema, dict) else "{...}"
    return {"date-time": "time", "uuid": "id"}.get(schema.get("format", ""), _NAMES.get(str(kind), "any value"))


if __name__ == "__main__":
    TARGET.write_text(page(TARGET.read_text()))
    SCHEMAS.write_text(json.dumps(schemas(), indent=1) + "\n")
