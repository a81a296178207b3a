"""Names of any kind, which every sender may choose: no command fails over them, and no terminal acts on them."""

from __future__ import annotations

import json
import re
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from lavoro import Lavoro
from lavoro.exceptions import ImproperlyConfigured
from lavoro.worker.config import node_name
from tests.doors.test_cli import APPS, NOWHERE, lavoro

ROOT = Path(__file__).parents[2]
NAMES = [
    "[/nothing]",
    "[link=http://evil]ok[/link]",
    "a\nERROR: forged",
    "\x1b[2J\x1b]0;title\x07",
    "\u202eevil\x9b2J",
    ":car:",
    "Q " * 2500,
]
ACTING = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project with one module."""
    (tmp_path / "shop.py").write_text(APPS["shop"])
    return tmp_path


@pytest.fixture
def url(migrated_url: str) -> str:
    """A database in which queues, tasks and a worker have all of these names."""
    app = Lavoro("sender", broker=migrated_url, set_as_current=False)
    with closing(app), app.database.engine.connect() as connection:
        for name in NAMES:
            connection.execute(sa.text("select lavoro.enqueue(:name, '[]', queue => :name)"), {"name": name})
            connection.execute(
                sa.text(
                    "insert into lavoro.worker (node, process, host, pid, pool, slots, queues,"
                    " release, lease, expires_at)"
                    " values (:name, 0, :name, 1, :name, 1, array[:name], '', '1 hour', clock_timestamp() + '1 hour')"
                ),
                {"name": name},
            )
    return migrated_url


def test_status(folder: Path, url: str) -> None:
    shown = lavoro(folder, "status", "-A", "shop", url=url)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert ACTING.search(shown.stdout) is None
    assert not any(line.startswith("ERROR") for line in shown.stdout.splitlines())
    for word in ("[/nothing]", "[link=http:", r"\x1b[2J", r"\u202eevil\x9b", ":car:"):
        assert word in shown.stdout
    assert 500 < shown.stdout.count("Q") < 2500
    listed = lavoro(folder, "status", "-A", "shop", "--json", url=url).stdout
    assert ACTING.search(listed) is None
    assert sorted(queue["queue"] for queue in json.loads(listed)["queues"]) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES[:4])
def test_json_is_json_and_nothing_acts(folder: Path, migrated_url: str, name: str) -> None:
    """Escapes of JSON, where a line for people has those of Python, which JSON does not have."""
    arguments = ["schedule", "add", "-A", "shop", "--json", name, "1", "shop.add", "1", "2"]
    added = lavoro(folder, *arguments, url=migrated_url)
    assert added.returncode == 0, added.stderr
    for verb in (["list", "--json"], ["export", "--format", "json"]):
        listed = lavoro(folder, "schedule", *verb, "-A", "shop", url=migrated_url).stdout
        assert ACTING.search(listed) is None
        found = json.loads(listed)
        assert ([*found] if isinstance(found, dict) else [each["name"] for each in found]) == [name]


@pytest.mark.parametrize("verb", [["doctor"], ["purge", "-f", "-Q", ",".join(NAMES)], ["health", "-n", "[/a]@b"]])
def test_other_verbs(folder: Path, url: str, verb: list[str]) -> None:
    shown = lavoro(folder, *verb, "-A", "shop", url=url)
    assert "Traceback" not in shown.stderr
    assert ACTING.search(shown.stdout + shown.stderr) is None


@pytest.mark.parametrize(
    "arguments",
    [
        ["status", "-A", "no\x1b[2Jthing"],
        ["status", "-A", "shop:no\x1b[2Jthing"],
        ["worker", "-A", "shop", "-Q", "a\x1b[2Jb"],
        ["worker", "-A", "shop", "-n", "a\x1b[2Jb"],
        ["worker", "-A", "shop", "-P", "a\x1b[2Jb"],
        ["dan\x1b[2Jce"],
    ],
)
def test_what_was_typed_is_not_acted_on(folder: Path, arguments: list[str]) -> None:
    shown = lavoro(folder, *arguments, url=NOWHERE)
    assert shown.returncode in (1, 2)
    assert len(shown.stderr.splitlines()) == 1
    assert r"\x1b[2J" in shown.stderr
    assert ACTING.search(shown.stdout + shown.stderr) is None


@pytest.mark.parametrize("name", ["a\nb", "a\x1b[2J", "a\u202e", "a\ud800"])
def test_a_node_has_a_name_that_can_be_shown(name: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"cannot name a node \(-n\)"):
        node_name(name)


def test_every_verb_speaks_through_one_function() -> None:
    """But for help, and for a table whose cells are made of text alone."""
    found = {
        (file.name, line.strip())
        for file in (ROOT / "lavoro/cli").rglob("*.py")
        for line in file.read_text().splitlines()
        if re.search(r"click\.(echo|secho|confirm|prompt)\(|\bprint\(|std(out|err)\.write|console\.print", line, re.I)
    }
    assert found == {
        ("output.py", "click.echo(plain(text, lines=True), err=error)"),
        ("output.py", "click.confirm(plain(question), abort=True, err=True)"),
        ("drawing.py", "console().print(table_of(titles, rows, title=title, lines=lines))"),
        ("__init__.py", "click.echo(error.ctx.get_help())"),
    }
