"""Runs each verb on a database with the same rows each time, and, run as a module, writes the outputs into the page."""

from __future__ import annotations

import contextlib
import datetime as dt
import io
import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from lavoro import Lavoro, Limit
from lavoro.cli import run_for
from lavoro.cli.exits import Exit
from lavoro.store import tasks, workers
from lavoro.store.workers import Registration
from lavoro.text import commands

PAGE = Path(__file__).parents[2] / "docs/reference/cli.md"
URL = "postgresql://shop@db.example/shop"
_ID = "01a22fba-f112-7c37-b391-9e6d4f9bc6f{}"
DONE, FAILED, RUNS, LATER, MAIL, NEW = (_ID.format(number) for number in range(6))
COMMANDS = {
    "lavoro run": ["run shop.add 2 3"],
    "lavoro call": ["call shop.add -a '[2, 3]' --countdown 3600"],
    "lavoro result": [f"result {DONE}"],
    "lavoro status": ["status"],
    "lavoro top": ["top --once --interval 0.2"],
    "lavoro inspect": ["inspect active"],
    "lavoro control": [f"control revoke {NEW}"],
    "lavoro check": ["check"],
    "lavoro queue pause": ["queue pause mail"],
    "lavoro doctor": ["doctor"],
    "lavoro queue resume": ["queue resume mail"],
    "lavoro limit list": ["limit list"],
    "lavoro limit show": ["limit show customer:7"],
    "lavoro limit set": ["limit set customer:7 --running 2"],
    "lavoro limit pause": ["limit pause customer:7 --seconds 600"],
    "lavoro limit resume": ["limit resume customer:7"],
    "lavoro limit release": ["limit release customer:7"],
    "lavoro health": ["health -n one@web1"],
    "lavoro task list": ["task list --state FAILURE,STARTED"],
    "lavoro task count": ["task count"],
    "lavoro task failures": ["task failures"],
    "lavoro queue show": ["queue show celery"],
    "lavoro task show": [f"task show {FAILED}", f"task show {MAIL}"],
    "lavoro task move": [f"task move --to archive {MAIL}"],
    "lavoro task run": [f"task run {LATER}"],
    "lavoro task retry": ["task retry --error KeyError --yes"],
    "lavoro task revoke": [f"task revoke --terminate {RUNS}"],
    "lavoro task delete": [f"task delete {DONE} {RUNS}"],
    "lavoro task export": ["task export --name shop.report"],
    "lavoro queue list": ["queue list"],
    "lavoro queue move": ["queue move archive mail --yes"],
    "lavoro queue purge": ["queue purge mail --yes"],
    "lavoro schedule add": ["schedule add nightly '0 3 * * *' shop.report"],
    "lavoro schedule list": ["schedule list"],
    "lavoro schedule show": ["schedule show nightly"],
    "lavoro schedule pause": ["schedule pause nightly"],
    "lavoro schedule resume": ["schedule resume nightly"],
    "lavoro schedule run": ["schedule run nightly"],
    "lavoro schedule check": ["schedule check"],
    "lavoro schedule delete": ["schedule delete nightly"],
    "lavoro purge": ["purge -f -Q mail"],
    "lavoro migrate": ["migrate"],
    "lavoro multi": ["multi names 2 --hostname=web1"],
}  # fmt: skip
"""The command lines by the verb whose section shows them, in an order in which each finds what it needs."""
_SAME = (
    (r"\d{4}-\d\d-\d\d([ T])\d\d:\d\d:\d\d(\.\d+)?", r"2027-01-31\g<1>09:00:00"),
    (r"\b(?!01a22fba-f112)[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", _ID.format(6)),
    (r"postgresql://[^\s/]+/\w+", URL),
    (r"\b\d+(\.\d+)? s\b", "1 s"),
    (r"\b\d+(\.\d+)?/s\b", "0/s"),
    (r"('time_start': )[\d.]+", r"\g<1>1801386000.0"),
    (r"is due in \d+ s", "is due in 3600 s"),
)


def outputs(url: str) -> dict[str, str]:
    """Run all commands on an empty database of this release; return what each verb's section shows."""
    with Lavoro("shop", broker=url, set_as_current=False) as app:
        _define(app)
        _fill(app)
        commands.name_app("shop")
        return {name: "\n\n".join(_run(app, line) for line in lines) for name, lines in COMMANDS.items()}


def _define(app: Lavoro) -> None:
    @app.task(name="shop.add")
    def add(x: int, y: int) -> int:
        return x + y

    app.task(name="shop.report")(lambda: None)
    app.task(name="shop.total")(lambda: None)


def _fill(app: Lavoro) -> None:
    """Bring a task to each stage, with two workers of which one has claimed."""
    with app.database.tx() as tx:
        one = Registration("one@web1", 0, "web1", 4711, "gevent", 10, ["celery"], "0.1.0", 3600.0)
        worker = workers.register(tx, one)
        tx.connection.execute(
            "update lavoro.worker set tasks = '{shop.add,shop.report,shop.total}', runs_schedules = true"
        )
        app.send_task("shop.report", task_id=RUNS, limits=[Limit("customer:7", running=1)])
        assert tasks.claim(
            tx, worker, lanes=[tasks.Lane("celery", 0, dt.datetime.fromtimestamp(0, dt.timezone.utc))], limit=1
        )
    app.send_task("shop.add", (2, 3), task_id=DONE)
    app.complete(DONE, 5)
    app.send_task("shop.total", task_id=FAILED)
    app.fail(FAILED, KeyError("total"))
    app.send_task("shop.report", task_id=LATER, countdown=3600)
    app.send_task("shop.add", (1, 1), task_id=MAIL, queue="mail")
    app.send_task("shop.add", (4, 4), task_id=NEW)


def _run(app: Lavoro, line: str) -> str:
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as errors:
        code = run_for(app, shlex.split(line))
    assert code != Exit.USAGE, errors.getvalue()
    verb, _, rest = line.partition(" ")
    said = "\n".join(each.rstrip() for each in (out.getvalue() + errors.getvalue()).strip().splitlines())
    return f"$ lavoro {verb} {rest}".rstrip() + f"\n{same(said)}"


def same(text: str) -> str:
    """Replace what differs from run to run by what it might be."""
    for pattern, instead in _SAME:
        text = re.sub(pattern, instead, text)
    return text


def parts(text: str) -> Iterator[tuple[str, str]]:
    """Yield the verbs of a page with the outputs that it shows."""
    yield from re.findall(r"<!-- output: ([\w -]+) -->\n```text\n(.*?)\n```\n<!-- shown -->\n", text, re.DOTALL)


def page(text: str, shown: dict[str, str]) -> str:
    """Return the page with the outputs, each behind the options of its verb."""
    text = re.sub(r"\n<!-- output: [\w -]+ -->\n.*?<!-- shown -->\n", "", text, flags=re.DOTALL)
    for name, output in shown.items():
        begin = text.index(f"<!-- generated: {name} -->")
        place = text.index("<!-- end -->\n", begin) + len("<!-- end -->\n")
        block = f"\n<!-- output: {name} -->\n```text\n{output}\n```\n<!-- shown -->\n"
        text = text[:place] + block + text[place:]
    return text


if __name__ == "__main__":
    from lavoro.store.schema.migrate import migrate
    from tests.postgres import temporary_cluster

    os.environ.pop("COLUMNS", None)
    with temporary_cluster(durable=True) as cluster:
        own = cluster.url(cluster.create_database())
        migrate(own)
        PAGE.write_text(page(PAGE.read_text(), outputs(own)))
