"""``lavoro inspect`` and ``lavoro control`` with a real worker, as Celery's commands print it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from lavoro import Lavoro
from lavoro.cli import run_for
from tests.conftest import Eventually
from tests.worker.conftest import PATIENCE, Ledger, StartWorker

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(sender: Lavoro, capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: str) -> tuple[int, str, str]:
        code = run_for(sender, arguments)
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def test_questions_and_commands(
    start_worker: StartWorker, sender: Lavoro, run: Run, ledger: Ledger, eventually: Eventually, tmp_path: Any
) -> None:
    assert run("inspect", "ping")[0] == 69
    worker = start_worker("-c", "2", "-n", "one@here", url=sender.database.url, app="tests.worker.commanded")
    wait = ["-t", str(PATIENCE)]
    assert run("inspect", "ping", *wait) == (0, "->  one@here: OK\n        pong\n\n1 node online.\n", "")
    assert json.loads(run("inspect", "ping", "--json", *wait)[1]) == {"one@here": {"ok": "pong"}}
    assert run("inspect", "active")[1] == "->  one@here: OK\n        - empty -\n\n1 node online.\n"
    gate = tmp_path / "gate"
    held = sender.send_task("hold", [str(gate)])
    eventually(lambda: ledger.starts(held.id), timeout=PATIENCE, why="it runs")
    assert held.id in run("inspect", "active")[1]
    assert json.loads(run("inspect", "query_task", held.id, "-j")[1])["one@here"][held.id][0] == "active"
    assert "        * add [max_retries=3]\n" in run("inspect", "registered", "max_retries", *wait)[1]
    code, out, _ = run("control", "pool_grow", "1", *wait)
    assert (code, out.startswith("->  one@here: OK\n")) == (0, True)
    assert json.loads(run("inspect", "stats", "-j", *wait)[1])["one@here"]["pool"]["max-concurrency"] == 3
    replies = json.loads(run("control", "add_consumer", "mail", "-j", "-d", "one@here", *wait)[1])
    assert [*replies[0]] == ["one@here"]
    code, out, _ = run("control", "rate_limit", "add", "10/m", *wait)
    assert out.startswith("->  one@here: ERROR\n        this release has no rate limits")
    eventually(lambda: "'name': 'mail'" in run("inspect", "active_queues")[1], timeout=PATIENCE, why="it serves it")
    code, out, err = run("inspect", "ping", "-d", "one@her")
    assert (code, out, err) == (69, "", "lavoro: no live worker is named 'one@her': did you mean one@here?\n")
    assert json.loads(run("status", "-j", "-d", "two@here", "-t", "1")[1])["workers"] == []
    gate.touch()
    assert held.get(timeout=PATIENCE) == "held"
    assert run("control", "shutdown", *wait)[0] == 0
    assert worker.wait() == 0
    assert run("inspect", "active") == (
        69, "", "lavoro: No nodes replied within time constraint: no worker is alive, or none answers\n",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["inspect", "actve"], "there is no such command to inspect: 'actve': did you mean 'active'?"),
        (["control", "xyzzy"], "there is no such command to control: 'xyzzy': see lavoro control --list"),
        (["control", "pool_grow", "many"], "N cannot be 'many': pool_grow takes [N]"),
        (["control", "add_consumer"], "add_consumer takes QUEUE"),
        (["control", "shutdown", "now"], "shutdown takes no arguments"),
        (["inspect", "query_task"], "query_task takes IDS"),
        (["control", "revoke"], "revoke takes TASK_ID"),
        (["inspect"], "Missing argument 'COMMAND'"),
    ],
)
def test_bad_input(run: Run, arguments: list[str], words: str) -> None:
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert words in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("kind", ["inspect", "control"])
def test_list(run: Run, kind: str) -> None:
    code, out, _ = run(kind, "--list")
    assert code == 0
    names = re.findall(r"^(\w+)", out, re.MULTILINE)
    assert names == sorted(names)
    assert ("ping" if kind == "inspect" else "shutdown") in names
