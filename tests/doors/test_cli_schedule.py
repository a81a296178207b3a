"""``lavoro schedule``, and what ``status``, ``doctor`` and ``health`` tell of schedules."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from lavoro import Lavoro
from lavoro.beat.problems import Problems
from lavoro.cli import run_for
from lavoro.schedules import crontab
from lavoro.store import entries, workers
from lavoro.store.workers import Registration
from tests import copies

ROOT = Path(__file__).parents[2]


class Ran:
    """What a command printed, and its exit code."""

    def __init__(self, code: int, output: str, error: str) -> None:
        self.code, self.output, self.error = code, output, error

    @property
    def json(self) -> Any:
        return json.loads(self.output)


Command = Callable[..., Ran]


@pytest.fixture
def app(migrated_url: str) -> Iterator[Lavoro]:
    with Lavoro("shop", broker=migrated_url) as app:

        @app.task(name="report")
        def report(kind: str = "sales", *, pages: int = 1) -> str:
            return kind

        yield app


@pytest.fixture
def lavoro(app: Lavoro, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.setenv("COLUMNS", "400")

    def run(*arguments: str) -> Ran:
        capsys.readouterr()
        code = run_for(app, arguments)
        printed = capsys.readouterr()
        return Ran(code, printed.out, printed.err)

    return run


@pytest.fixture
def sql(migrated_url: str) -> Iterator[Callable[..., list[tuple[Any, ...]]]]:
    with psycopg.connect(migrated_url, autocommit=True) as connection:

        def sql(statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
            cursor = connection.execute(statement.encode(), parameters)
            return cursor.fetchall() if cursor.description else []

        yield sql


Sql = Callable[..., list[tuple[Any, ...]]]


def live(app: Lavoro, *, scheduled: list[str] | None) -> None:
    """Let a worker be alive that sends the tasks of these schedules."""
    with app.database.tx() as tx:
        sends = (scheduled or [], scheduled is not None)
        workers.register(tx, Registration("one@here", 0, "here", 1, "solo", 1, ["celery"], "0.1", 3600.0, *sends))


# From adding to deleting


def test_the_life_of_a_schedule(lavoro: Command, sql: Sql) -> None:
    added = lavoro(
        "schedule", "add", "sales", "0 9 * * mon-fri", "report", "costs", "pages=3", "--tz", "Europe/Rome",
        "--overlap", "allow", "-Q", "slow", "--expires", "60", "-o", "priority=7", "--json",
    )  # fmt: skip
    assert (added.code, added.error) == (0, "")
    [made] = added.json
    assert (made["args"], made["kwargs"]) == (["costs"], {"pages": 3})
    assert made["options"] == {"queue": "slow", "expires": 60.0, "priority": 7}
    assert (made["timing"], made["zone"], made["overlap"], made["state"]) == (
        "0 9 * * mon-fri", "Europe/Rome", "allow", "new",
    )  # fmt: skip
    assert re.search(r"sales.*0 9 \* \* mon-fri \(Europe/Rome\).*report.*new", lavoro("schedule", "list").output)
    assert [each["name"] for each in lavoro("schedule", "list", "--json").json] == ["sales"]
    times = lavoro("schedule", "next", "sales", "-n", "3").output.splitlines()
    assert len(times) == 3
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\d 09:00:00 CES?T", line) for line in times)
    assert len(lavoro("schedule", "next", "sales", "--json").json) == 5
    assert lavoro("schedule", "pause", "sales").output == "paused: sales\n"
    assert "it is paused" in lavoro("schedule", "next", "sales").error
    shown = lavoro("schedule", "show", "sales")
    assert re.search(r"state: +paused\n", shown.output)
    assert re.search(r"upcoming: +\d{4}-.* 09:00:00 CES?T, ", shown.output)
    assert lavoro("schedule", "show", "sales", "-j").json["problem"] is None
    assert lavoro("schedule", "resume", "sales", "--json").json == {"resumed": ["sales"]}
    id = lavoro("schedule", "run", "sales").output.strip()
    assert [str(row[0]) for row in sql("select id from lavoro.waiting where queue = 'slow'")] == [id]
    assert re.search(rf"sent.*{id}.*run by hand", lavoro("schedule", "history", "sales").output)
    [past] = lavoro("schedule", "history", "sales", "--json").json
    assert (past["task_id"], past["outcome"]) == (id, "sent")
    assert lavoro("schedule", "delete", "sales").output == "deleted: sales\n"
    assert lavoro("schedule", "list").output.startswith("no schedules")


def test_a_backfill(lavoro: Command, sql: Sql) -> None:
    lavoro("schedule", "add", "sales", "@hourly", "report", "--tz", "Asia/Tokyo")
    sql("update lavoro.schedule set overlap = 'allow'")
    [[day]] = sql("select to_char(now() at time zone 'Asia/Tokyo' - interval '1 day', 'YYYY-MM-DD')")
    span = f"{day}T01:00", f"{day}T03:30"
    preview = lavoro("schedule", "backfill", "sales", *span, "--preview")
    assert preview.output.splitlines()[-1] == "3 tasks would be sent, 0 had been sent before"
    assert len(preview.output.splitlines()) == 4
    done = lavoro("schedule", "backfill", "sales", *span, "--json").json
    assert (len(done["task_ids"]), done["already"]) == (3, 0)
    again = lavoro("schedule", "backfill", "sales", *span)
    assert again.output == "0 tasks sent, 3 had been sent before\n"


@pytest.mark.parametrize(
    ("arguments", "words", "code"),
    [
        (["show", "nosuch"], ["there is no schedule 'nosuch'"], 1),
        (["history", "nosuch"], ["there is no schedule 'nosuch'"], 1),
        (["pause", "a", "nosuch"], ["there is no schedule 'nosuch'"], 1),
        (["add", "b", "0 25 * * *", "report"], ["'b'", "field 2 (hour)", "'25'"], 1),
        (["add", "a", "60", "report"], ["there is a schedule of the name 'a' already"], 1),
        (["add", "b", "60", "report", "--tz", "Europe/Rom"], ["'Europe/Rom' is not known"], 1),
        (["add", "b", "60", "report", "nosuch=1"], ["'b'", "calls its task wrongly", "nosuch"], 1),
        (["add", "b", "60"], ["give NAME, SCHEDULE and TASK"], 2),
        (["add", "b", "60", "report", "-o", "priority"], ["NAME=JSON"], 2),
        (["add", "b", "60", "report", "--overlap", "maybe"], ["maybe"], 2),
        (["backfill", "a", "yesterday", "today"], ["'yesterday' is no time", "2027-01-31T09:00"], 2),
        (["nosuch"], ["nosuch"], 2),
    ],
)
def test_errors_are_one_line(lavoro: Command, arguments: list[str], words: list[str], code: int) -> None:
    lavoro("schedule", "add", "a", "60", "report")
    ran = lavoro("schedule", *arguments)
    assert (ran.code, ran.output) == (code, "")
    [line] = ran.error.splitlines()
    assert line.startswith("lavoro: ")
    assert all(word in line for word in words), line


def test_names_reach_no_terminal_raw(lavoro: Command, sql: Sql) -> None:
    sql("insert into lavoro.schedule (name, task, timing) values (E'a\\x1b[2J', E'b\\x07', E'c\\x1b')")
    for arguments in (["list"], ["show", "a\x1b[2J"], ["check"], ["export"], ["pause", "a\x1b[2J"]):
        ran = lavoro("schedule", *arguments)
        assert "\x1b" not in ran.output + ran.error
        assert "\x07" not in ran.output + ran.error


# Writing out and reading in


@pytest.fixture
def many(app: Lavoro) -> list[tuple[Any, ...]]:
    """Schedules with all that can be said, as they are stored."""
    app.schedules.create("plain", 60, "report")
    app.schedules.create(
        "full", "0 9 * * mon-fri", "report", ["it's \\ and \""], {"pages": 2}, options={"queue": "slow"},
        tz="Europe/Rome", missed="all", missed_most=5, missed_age=3600, overlap="queue", jitter=2.5,
        start="2030-01-01T00:00:00+00:00", end="2031-01-01T00:00:00+00:00", most_runs=7, paused=True,
    )  # fmt: skip
    return definitions(app)


def definitions(app: Lavoro) -> list[tuple[Any, ...]]:
    return [(*each[:16], each.paused_at is not None) for each in app.schedules]


def test_what_json_says_is_added_again(app: Lavoro, lavoro: Command, many: list[Any], tmp_path: Path) -> None:
    written = lavoro("schedule", "export", "--format", "json").output
    (tmp_path / "schedules.json").write_text(written)
    app.schedules.delete("full", "plain")
    assert lavoro("schedule", "add", "--from-file", str(tmp_path / "schedules.json")).output == "added: full, plain\n"
    assert definitions(app) == many
    refused = lavoro("schedule", "add", "--from-file", str(tmp_path / "schedules.json"))
    assert "there is a schedule of the name 'full' already" in refused.error
    assert lavoro("schedule", "add", "--replace", "--from-file", str(tmp_path / "schedules.json")).code == 0
    for text in ("[1]", '{"a": 1}', "{"):
        (tmp_path / "wrong.json").write_text(text)
        assert "--from-file" in lavoro("schedule", "add", "--from-file", str(tmp_path / "wrong.json")).error
    (tmp_path / "half.json").write_text('{"one": {"task": "report", "schedule": 5}, "two": {"task": "report"}}')
    assert (
        "'two' cannot be used: it has no 'schedule'"
        in lavoro("schedule", "add", "--from-file", str(tmp_path / "half.json")).error
    )
    assert definitions(app) == many  # all of a file, or nothing


def test_what_sql_says_is_stored_again(app: Lavoro, lavoro: Command, many: list[Any], sql: Sql) -> None:
    written = lavoro("schedule", "export", "--format", "sql").output
    sql("update lavoro.schedule set kwargs = null, overlap = 'skip', paused_at = null, zone = null")
    assert definitions(app) != many
    for statement in written.strip().split(";\n"):
        sql(statement)
    assert definitions(app) == many
    app.schedules.delete("full", "plain")
    for statement in written.strip().split(";\n"):
        sql(statement)
    assert definitions(app) == many


def test_what_python_says_is_the_setting(app: Lavoro, lavoro: Command, many: list[Any]) -> None:
    found: dict[str, Any] = {}
    exec(lavoro("schedule", "export", "--format", "python").output, found)
    app.schedules.delete("full", "plain")
    app.conf.beat_schedule = found["beat_schedule"]
    app.schedules.define()
    app.schedules.pause("full")
    assert definitions(app) == many


# Before a deploy


def test_nothing_is_wrong(app: Lavoro, lavoro: Command) -> None:
    app.conf.beat_schedule = {"a": {"task": "report", "schedule": 60}}
    app.schedules.define()
    assert lavoro("schedule", "check").output == "nothing found\n"
    assert lavoro("schedule", "check", "--json").json == []


def test_check_finds_all_that_is_wrong(app: Lavoro, lavoro: Command, sql: Sql) -> None:
    app.conf.beat_schedule = {
        "bad hour": {"task": "report", "schedule": "0 25 * * *"},
        "bad zone": {"task": "report", "schedule": 60, "tz": "Europe/Rom"},
        "bad task": {"task": "reprot", "schedule": 60},
        "bad call": {"task": "report", "schedule": 60, "kwargs": {"nosuch": 1}},
        "no dict": 5,
        "twice": {"task": "report", "schedule": 60, "args": ["costs"]},
        "same": {"task": "report", "schedule": 60},
        "good": {"task": "report", "schedule": crontab(minute=0)},
    }
    assert [fault["name"] for fault in lavoro("schedule", "check", "--code", "--json").json] == [
        "bad hour", "bad zone", "no dict", "bad task", "bad call",
    ]  # fmt: skip
    app.schedules.create("twice", 90, "report", ["sales"])
    app.schedules.create("same", 60, "report")
    sql("insert into lavoro.schedule (name, task, timing) values ('words', 'report', 'now and then')")
    sql("insert into lavoro.schedule (name, task, timing, zone) values ('nowhere', 'report', '@daily', 'Mars')")
    sql("insert into lavoro.schedule (name, task, timing, app) values ('strange', 'reports', '@daily', 'shop')")
    sql(
        "insert into lavoro.schedule (name, task, timing, app, origin) values ('good', 'report', '@daily', 'x', 'code')"
    )
    ran = lavoro("schedule", "check")
    lines = ran.output.splitlines()
    assert (ran.code, lines[-1]) == (1, "11 problems found")
    expected = {
        "code: bad hour": ["field 2 (hour)", "'25'"],
        "code: bad zone": ["Europe/Rom"],
        "code: no dict": ["must be a dict, not 5"],
        "code: bad task": ["no task 'reprot': did you mean 'report'?"],
        "code: bad call": ["nosuch"],
        "database: twice": [
            "args: ['costs'] in code, ['sales'] in the database",
            "timing: '@every 60s' in code, '@every 90s' in the database", "`lavoro schedule -A yourapp delete twice`",
        ],
        "database: same": ["in the same way"],
        "database: words": ["'words' has no times: the crontab 'now and then' has 3 fields"],
        "database: nowhere": ["the zone 'Mars' is not known"],
        "database: strange": ["no task 'reports': did you mean 'report'?"],
        "database: good": ["the application 'x' defines it, too"],
    }  # fmt: skip
    for start, words in expected.items():
        [line] = [line for line in lines if line.startswith(f"{start}: ")]
        assert [word for word in words if word not in line] == [], line


# Status, doctor, health, log


@pytest.fixture
def problems(app: Lavoro, sql: Sql) -> None:
    """A schedule of each kind of problem, and a worker that knows one task."""
    live(app, scheduled=["report"])
    for name, task in (("fine", "report"), ("late", "report"), ("strange", "other"), ("wrong", "report")):
        sql("insert into lavoro.schedule (name, task, timing) values (%s, %s, '@daily')", name, task)
    sql("update lavoro.schedule set since = now() - interval '2 minutes' where name = 'late'")
    sql("update lavoro.schedule set error = 'no such thing', due_at = null where name = 'wrong'")


WORDS = {
    "late": r"is late by 12\d s",
    "strange": "waits: no live worker knows its task 'other'",
    "wrong": "has an error: no such thing",
}


@pytest.mark.usefixtures("problems")
def test_status_shows_problems(lavoro: Command) -> None:
    ran = lavoro("status")
    assert ran.code == 0
    for name, words in WORDS.items():
        assert re.search(f"{name} .*{words}", ran.output), ran.output
    assert "fine" not in ran.output
    kinds = {each["name"]: each["kind"] for each in lavoro("status", "--json").json["schedules"]}
    assert kinds == {"late": "late", "strange": "unknown", "wrong": "error"}


@pytest.mark.usefixtures("problems")
def test_the_doctor_finds_problems(lavoro: Command) -> None:
    ran = lavoro("doctor", "--json")
    found = {each["which"]: each for each in ran.json["findings"] if each["check"] == "schedule"}
    assert ran.code == 1
    assert set(found) == set(WORDS)
    for name, words in WORDS.items():
        assert re.fullmatch(words, found[name]["problem"])
    assert "`lavoro schedule -A yourapp delete strange`" in found["strange"]["repair"]
    assert "`lavoro schedule -A yourapp show wrong`" in found["wrong"]["repair"]


def test_the_doctor_tells_how_code_is_mended(app: Lavoro, lavoro: Command, sql: Sql) -> None:
    live(app, scheduled=["shop.report"])
    app.conf.beat_schedule = {"strange": {"task": "shop.reprot", "schedule": 60}}
    app.schedules.define()
    [found] = [each for each in lavoro("doctor", "--json").json["findings"] if each["check"] == "schedule"]
    assert found["repair"].startswith("-- did you mean 'shop.report'? correct the task's name in the code")
    assert "delete" not in found["repair"]


@pytest.mark.usefixtures("problems")
def test_a_narrow_list_shows_whole_names(lavoro: Command, monkeypatch: pytest.MonkeyPatch, sql: Sql) -> None:
    name = "shop.tasks.of_the_warehouse.count_all"
    sql("insert into lavoro.schedule (name, task, timing, last_at) values (%s, 'report', '@daily', now())", name)
    monkeypatch.setenv("COLUMNS", "80")
    lines = lavoro("schedule", "list").output.splitlines()
    assert all(len(line) <= 80 for line in lines)
    assert any(line.split()[:1] == [name] for line in lines), lines
    assert "task" not in lines[0]
    assert "wrong: no such thing" in lines
    assert "strange: waits: no live worker knows its task 'other'" in lines
    assert not any("…" in line for line in lines)
    id = lavoro("schedule", "run", name).output.strip()
    sql("update lavoro.schedule set next_at = '2027-01-01 09:00:00.25+00' where name = %s", name)
    [line] = [line for line in lavoro("schedule", "list").output.splitlines() if line.split()[:1] == [name]]
    assert "2027-01-01" in line
    sql("update lavoro.tick set late = true")
    history = lavoro("schedule", "history", name).output.splitlines()
    assert any(id in line for line in history), history
    assert history[0].split() == ["time", "outcome", "late", "task", "reason"], history


@pytest.mark.usefixtures("problems")
def test_health_tells_of_problems(lavoro: Command) -> None:
    ran = lavoro("health", "-n", "one@here")
    assert (ran.code, ran.output.count("\n")) == (0, 1)
    assert re.search(
        r"one@here is well.*; the schedule 'late' is late by 12\d s, and 2 more have a problem", ran.output
    )
    assert lavoro("health", "-n", "one@here", "--schedules").code == 1
    assert "leave out --liveness-file" in lavoro("health", "--schedules", "--liveness-file", "x").error


@pytest.mark.usefixtures("problems")
def test_the_log_tells_of_problems_once(
    app: Lavoro, sql: Sql, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lavoro.beat.problems.INTERVAL", -1.0)
    looking = Problems()
    with app.database.tx() as tx:
        looking.look(tx)
        assert all(any(repr(name) in record.getMessage() for record in caplog.records) for name in WORDS)
        assert len(caplog.records) == 3
        looking.look(tx)
        assert len(caplog.records) == 3
        sql("update lavoro.schedule set task = 'report' where name = 'strange'")
        looking.look(tx)
        sql("update lavoro.schedule set task = 'other' where name = 'strange'")
        looking.look(tx)
    assert len(caplog.records) == 4


def test_schedules_that_no_worker_sends(app: Lavoro, sql: Sql) -> None:
    """Only late ones are told: another process than a worker may send them."""
    live(app, scheduled=None)
    sql("insert into lavoro.schedule (name, task, timing) values ('new', 'report', '@daily')")
    with app.database.tx() as tx:
        assert entries.problems(tx) == []
        sql("update lavoro.schedule set since = now() - interval '2 minutes'")
        [problem] = entries.problems(tx)
        assert (problem.name, problem.kind) == ("new", "unserved")
        assert "no live worker sends the tasks of schedules" in problem.words
        sql("update lavoro.schedule set paused_at = now()")
        assert entries.problems(tx) == []


@pytest.mark.parametrize("verb", [["schedule", "-A", "shop", "check"], ["run", "-A", "shop", "report"]])
def test_a_module_of_tasks_that_there_is_not_is_one_line(tmp_path: Path, verb: list[str]) -> None:
    (tmp_path / "shop.py").write_text("from lavoro import Lavoro\napp = Lavoro('shop', include=['nosuch.tasks'])\n")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "LAVORO_DATABASE_URL": "postgresql://127.0.0.1:1/x"}
    ran: subprocess.CompletedProcess[str] = copies.run("lavoro", *verb, environment=environment, folder=tmp_path)
    assert ran.returncode == 1
    [line] = ran.stderr.splitlines()
    assert "there is no module 'nosuch.tasks', which the setting include" in line
