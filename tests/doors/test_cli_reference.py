"""The reference of the command line is that of the commands, and ``--json`` prints what it says."""

from __future__ import annotations

import importlib.util
import json
import logging
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from lavoro import Lavoro
from lavoro.cli import run_for
from lavoro.store import workers
from lavoro.store.schema.migrate import migrate
from lavoro.store.workers import Registration
from tests.doors import cli_outputs
from tests.postgres import Cluster

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/reference/cli.md"


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate_cli", ROOT / "docs/generate_cli.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


GENERATOR = load()


def test_the_page_is_that_of_the_commands() -> None:
    """Else run docs/generate_cli.py."""
    assert PAGE.read_text() == GENERATOR.page(PAGE.read_text())
    assert json.loads((ROOT / "docs/reference/cli.schema.json").read_text()) == GENERATOR.schemas()


@pytest.mark.parametrize("name", sorted(name for name, _ in GENERATOR.verbs()))
def test_each_verb_has_a_section_with_its_options(name: str) -> None:
    assert f"<!-- generated: {name} -->" in PAGE.read_text()
    assert re.search(rf"^##+ `{name}`$", PAGE.read_text(), re.MULTILINE)


WITHOUT_JSON = {"lavoro worker", "lavoro beat", "lavoro shell", "lavoro multi"}
"""They run until they are stopped, and print a log, or what is typed; `multi` prints what Celery's does."""


def test_each_verb_that_prints_a_result_has_json() -> None:
    groups = {name for name, command in GENERATOR.verbs() if hasattr(command, "commands")}
    without = {name for name, _ in GENERATOR.verbs()} - set(GENERATOR.schemas()) - groups
    assert without == WITHOUT_JSON


def fits(value: Any, schema: dict[str, Any], place: str = "$") -> list[str]:
    """Return how a value differs from a JSON Schema, as far as ours go."""
    if "anyOf" in schema:
        found = [fits(value, each, place) for each in schema["anyOf"]]
        return [] if [] in found else min(found, key=len)
    if "enum" in schema:
        return [] if value in schema["enum"] else [f"{place}: {value!r} is none of {schema['enum']}"]
    kinds = {
        "string": str, "integer": int, "number": (int, float), "boolean": bool, "null": type(None), "array": list,
        "object": dict,
    }  # fmt: skip
    kind = schema.get("type")
    if kind is None:
        return []
    if not isinstance(value, kinds[kind]) or (isinstance(value, bool) and kind in ("integer", "number")):
        return [f"{place}: {value!r} is no {kind}"]
    if kind == "array":
        return [bad for n, each in enumerate(value) for bad in fits(each, schema.get("items", {}), f"{place}[{n}]")]
    if kind != "object":
        return []
    wrong = [f"{place}: {name} is missing" for name in schema.get("required", ()) if name not in value]
    for name, each in value.items():
        inner = schema.get("properties", {}).get(name, schema.get("additionalProperties", {}))
        wrong += [f"{place}: {name} is unknown"] if inner is False else fits(each, inner, f"{place}.{name}")
    return wrong


@pytest.mark.parametrize(
    ("value", "schema", "wrong"),
    [
        (1, {"type": "integer"}, 0),
        (True, {"type": "integer"}, 1),
        ("a", {"anyOf": [{"type": "integer"}, {"type": "null"}]}, 1),
        ([1, "a"], {"type": "array", "items": {"type": "integer"}}, 1),
        ({"a": 1}, {"type": "object", "properties": {"b": {}}, "required": ["b"], "additionalProperties": False}, 2),
    ],
)
def test_the_check_finds_what_is_wrong(value: Any, schema: dict[str, Any], wrong: int) -> None:
    assert len(fits(value, schema)) == wrong


COMMANDS = [
    "migrate",
    "status",
    "events --limit 1",
    "top --interval 0.2",
    "doctor",
    "health",
    "check",
    "db",
    "report",
    "run shop.add 1 2",
    "call shop.add -a [1,2] --queue other",
    "schedule add nightly @daily shop.add 1 2",
    "schedule list",
    "schedule show nightly",
    "schedule next nightly",
    "schedule run nightly",
    "schedule history nightly",
    "schedule backfill nightly 2026-01-01T00:00 2026-01-03T00:00 --forgotten",
    "schedule pause nightly",
    "schedule resume nightly",
    "schedule check",
    "schedule export",
    "schedule delete nightly",
    "result an-id",
    "inspect active",
    "control revoke an-id",
    "limit set customer:1 --running 2",
    "limit list",
    "limit show customer:1",
    "limit pause customer:1",
    "limit resume customer:1",
    "limit release customer:1",
    "queue list",
    "queue show celery",
    "queue pause other",
    "queue resume other",
    "queue move other apart --yes",
    "task list",
    "task show an-id",
    "task count",
    "task failures",
    "history day",
    "task export",
    "task move --to other --all --yes",
    "task run --all --yes",
    "task revoke --all --yes",
    "task retry --all --yes",
    "task delete --all --yes",
    "queue purge other --yes",
    "purge -f -Q celery,other",
    "upgrade settings conf.py",
]
"""A command for each verb, in an order in which each finds what it needs."""


@pytest.fixture
def app(migrated_url: str) -> Iterator[Lavoro]:
    """An application with one task."""
    with Lavoro("shop", broker=migrated_url, set_as_current=False) as app:

        @app.task(name="shop.add")
        def add(x: int, y: int) -> int:
            return x + y

        yield app


def test_json_is_as_the_schemas_say(
    app: Lavoro,
    root: logging.Logger,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "conf.py").write_text("CELERY_ALWAYS_EAGER = True\n")
    app.send_task("shop.add", (1, 2), task_id="an-id", queue="apart")
    app.complete("an-id", 3)
    with app.database.tx() as tx:
        workers.register(tx, Registration("one@here", 0, "here", 4711, "solo", 1, ["celery"], "0.1.0", 3600.0))
    app.send_task("shop.add", (1, 2), countdown=60)
    schemas, seen = GENERATOR.schemas(), set()
    for line in COMMANDS:
        words = shlex.split(line)
        name = next(name for name in sorted(schemas, key=len, reverse=True) if f"lavoro {line} ".startswith(f"{name} "))
        code = run_for(app, [*words, "--json"])
        said = capsys.readouterr()
        assert said.out, (line, code, said.err)
        assert fits(json.loads(said.out), schemas[name], line) == []
        seen.add(name)
    assert set(schemas) == seen


WITHOUT_OUTPUT = {
    "lavoro worker": "its log is in a guide",
    "lavoro beat": "it prints a log",
    "lavoro events": "it goes on until it is stopped",
    "lavoro shell": "it prints what is typed",
    "lavoro db": "sizes and sessions differ from run to run",
    "lavoro report": "it has the releases of this machine",
    "lavoro upgrade settings": "it changes a file",
    "lavoro schedule next": "its times are those of the next days",
    "lavoro schedule history": "it has the ticks of the present",
    "lavoro schedule backfill": "the same as `run`, for many",
    "lavoro schedule export": "it prints what `add` was given",
    "lavoro history": "nothing was counted yet",
}
"""Verbs of which the page shows no output, with the reason."""


def test_the_page_shows_what_each_verb_prints(own_cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else run tests/doors/cli_outputs.py as a module."""
    monkeypatch.delenv("COLUMNS", raising=False)
    url = own_cluster.url(own_cluster.create_database())
    migrate(url)

    def squeezed(text: str) -> str:
        """A column is as wide as its longest text."""
        return re.sub(r" +", " ", text)

    shown = {name: squeezed(text) for name, text in cli_outputs.parts(PAGE.read_text())}
    assert shown == {name: squeezed(text) for name, text in cli_outputs.outputs(url).items()}


def test_each_verb_shows_its_output_or_has_a_reason() -> None:
    groups = {name for name, command in GENERATOR.verbs() if hasattr(command, "commands")}
    assert {name for name, _ in GENERATOR.verbs()} - groups == {*cli_outputs.COMMANDS, *WITHOUT_OUTPUT}
