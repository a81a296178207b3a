"""``lavoro task`` and ``lavoro queue``: every action on every state, on one task and on all that match."""

from __future__ import annotations

import datetime as dt
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from lavoro import Lavoro
from lavoro.cli import run_for
from lavoro.protocol.ids import task_uuid
from lavoro.store import history, tasks, workers
from lavoro.store.workers import Registration
from tests.conftest import Eventually
from tests.doors.terminal import at_terminal

ROOT = Path(__file__).parents[2]
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def app(migrated_url: str) -> Iterator[Lavoro]:
    with Lavoro("shop", broker=migrated_url, set_as_current=False) as app:
        yield app


@pytest.fixture
def run(app: Lavoro, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.delenv("COLUMNS", raising=False)

    def run(*arguments: str) -> tuple[int, str, str]:
        code = run_for(app, arguments)
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def send(app: Lavoro, state: str) -> str:
    """Send a task and bring it to a state; return its id."""
    options: dict[str, Any] = {"countdown": 3600} if state == "scheduled" else {}
    if state == "held":
        options["blockers"] = [app.send_task("blocker", queue="other")]
    id = str(app.send_task("shop.add", (1, 2), {"deep": True}, **options).id)
    if state == "running":
        with app.database.tx() as tx:
            worker = workers.register(tx, Registration("one@here", 0, "here", 4711, "solo", 9, ["x"], "0.1.0", 3600.0))
            lane = tasks.Lane("celery", 0, dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc))
            assert tasks.claim(tx, worker, lanes=[lane], limit=1)
    elif state == "SUCCESS":
        app.complete(id, 3)
    elif state == "FAILURE":
        app.fail(id, ValueError("no"))
    return id


def state(app: Lavoro, id: str) -> tuple[str, str] | None:
    with psycopg.connect(app.database.url) as connection:
        query = "select stage, state from lavoro.tasks where id = %s"
        return connection.execute(query, [task_uuid(id)]).fetchone()


@pytest.mark.parametrize(
    ("verb", "before", "code", "after"),
    [
        ("retry", "FAILURE", 0, "waiting"),
        ("retry", "SUCCESS", 4, "finished"),
        ("retry --state SUCCESS", "SUCCESS", 0, "waiting"),
        ("retry", "waiting", 4, "waiting"),
        ("retry", "running", 4, "running"),
        ("revoke", "waiting", 0, "finished"),
        ("revoke", "scheduled", 0, "finished"),
        ("revoke", "held", 0, "finished"),
        ("revoke --terminate", "running", 0, "running"),
        ("revoke", "SUCCESS", 4, "finished"),
        ("delete", "waiting", 0, None),
        ("delete", "FAILURE", 0, None),
        ("delete", "running", 4, "running"),
        ("move --to b", "waiting", 0, "waiting"),
        ("move --to b", "held", 0, "held"),
        ("move --to b", "running", 4, "running"),
        ("move --to b", "SUCCESS", 4, "finished"),
        ("run", "scheduled", 0, "waiting"),
        ("run", "FAILURE", 4, "finished"),
        ("run", "running", 4, "running"),
    ],
)
def test_each_action_on_each_state(app: Lavoro, run: Run, verb: str, before: str, code: int, after: str | None) -> None:
    id = send(app, before)
    ended, out, err = run("task", *verb.split(), id)
    assert ended == code, err
    found = state(app, id)
    assert (found and found[0]) == after
    if code == 0:
        assert (out.startswith(f"{id}: "), err) == (True, "")
    else:
        assert out == ""
        stage = {"SUCCESS": "finished (SUCCESS)", "FAILURE": "finished (FAILURE)"}.get(before, before)
        assert f"task {id}: it is {stage}" in err
        assert err.count("\n") == 1


def test_show_says_why_a_task_waits(app: Lavoro, run: Run) -> None:
    begun, waiting, failed, held, later, done = (
        send(app, each) for each in ("running", "waiting", "FAILURE", "held", "scheduled", "SUCCESS")
    )

    def why(id: str) -> str:
        return str(json.loads(run("task", "show", id, "--json")[1])["why"])

    assert why(failed) == "ended as FAILURE: ValueError: no"
    assert why(done) == "ended as SUCCESS"
    assert re.fullmatch(r"runs on \S+ \(pid \d+\) for \d+ s", why(begun))
    assert re.fullmatch(r"waits for 1 of 1 task: [-0-9a-f]{36} \(\S+, \w+ on \w+\)", why(held))
    run("queue", "pause", "celery")
    paused = r"^why: +the queue celery has been paused for \d s: lavoro .*resume celery$"
    assert re.search(paused, run("task", "show", waiting)[1], re.MULTILINE)
    run("queue", "resume", "celery")
    changes = {
        "tasks = tasks": "no live worker serves the queue celery: lavoro worker -A yourapp -Q celery",
        "queues = '{celery}', tasks = '{shop.sub}'": (
            "no live worker of the queue celery has a task 'shop.add': start one that has it"
        ),
        "tasks = '{shop.add}'": "waits for one@here",
        "slots = 1": "waits for a free slot: 1 task is on the 1 of one@here",
        "quiet = true": (
            "the workers of the queue celery are quiet, and claim nothing (one@here):"
            " lavoro control -A yourapp -d one@here resume"
        ),
    }
    with app.database.tx() as tx:
        for change, reason in changes.items():
            tx.connection.execute(f"update lavoro.worker set {change}".encode())
            assert why(waiting) == reason
        tx.connection.execute("update lavoro.worker set quiet = false")
        assert re.fullmatch(r"is due in 3[56]\d\d s, at \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", why(later))
        tx.connection.execute("delete from lavoro.barrier")
    assert why(held).startswith("waits for a barrier that does not exist, and never starts: end it with lavoro task")
    assert '"exc_type"' in run("task", "show", failed)[1]
    assert run("task", "show", "nothing")[:2] == (5, "")


def test_show_has_the_earlier_starts_and_the_tasks_around_it(app: Lavoro, run: Run) -> None:
    id = send(app, "SUCCESS")
    with app.database.tx() as tx:
        around = (
            """update lavoro.finished set children = '["c1", "c2"]', options = '{"parent_id": "p", "root_id": "r"}'"""
        )
        tx.connection.execute(around.encode())
        tx.connection.execute(
            b"insert into lavoro.attempt (id, number, state, started_at, reason, error) values"
            b' (%s, 2, \'RETRY\', now(), null, \'{"exc_type": "OSError", "exc_message": ["full"]}\'),'
            b" (%s, 1, 'LOST', now(), 'worker process 0 was ended by signal 9', null)",
            [task_uuid(id)] * 2,
        )
    shown = json.loads(run("task", "show", id, "--json")[1])
    assert (shown["children"], shown["parent"], shown["root"]) == (["c1", "c2"], "p", "r")
    assert [(each["number"], each["state"]) for each in shown["attempts"]] == [(1, "LOST"), (2, "RETRY")]
    lines = run("task", "show", id)[1].splitlines()
    assert "children:  c1, c2" in lines
    assert "Earlier starts:" in lines
    assert re.match(r"    1  LOST  .*worker process 0 was ended by signal 9$", lines[-2])
    assert re.match(r"    2  RETRY .*OSError: full$", lines[-1])


def test_several_ids_of_which_some_cannot(app: Lavoro, run: Run) -> None:
    good, done = send(app, "waiting"), send(app, "SUCCESS")
    code, out, err = run("task", "revoke", good, done, "nothing")
    assert code == 5, "the highest of their codes"
    assert out.splitlines() == [f"{good}: revoked"]
    assert [line.split(":")[0] for line in err.splitlines()] == ["lavoro", "lavoro"]
    code, out, _ = run("task", "retry", "--json", done, "nothing")
    found = json.loads(out)
    assert (code, found["tasks"], [each["code"] for each in found["refused"]]) == (5, [], [4, 5])


def test_list_filters_and_pages(app: Lavoro, run: Run) -> None:
    ids = [send(app, each) for each in ("waiting", "scheduled", "FAILURE", "SUCCESS")]
    app.send_task("mail.send", queue="mail")
    listed = {
        " ".join(options): [each["id"] for each in json.loads(run("task", "list", "--json", *options)[1])["items"]]
        for options in (
            ["--stage", "scheduled"], ["--state", "FAILURE"], ["--error", "ValueError"],
            ["--name", "shop.*", "--order", "oldest"], ["-Q", "nowhere"], ["--since", "1h", "--stage", "finished"],
            ["--until", "2020-01-01T00:00"], ["--args", '{"deep": true}', "--stage", "waiting"],
        )
    }  # fmt: skip
    assert listed == {
        "--stage scheduled": [ids[1]],
        "--state FAILURE": [ids[2]],
        "--error ValueError": [ids[2]],
        "--name shop.* --order oldest": ids,
        "-Q nowhere": [],
        "--since 1h --stage finished": [ids[3], ids[2]],
        "--until 2020-01-01T00:00": [],
        '--args {"deep": true} --stage waiting': [ids[0]],
    }
    code, out, err = run("task", "list", "--order", "oldest", "-n", "2")
    header, *rows = out.splitlines()
    assert header.split() == ["id", "task", "queue", "stage", "sent", "starts", "worker", "why"]
    assert [row.split()[0] for row in rows] == ids[:2]
    assert err.startswith("more: --cursor ")
    code, out, _ = run("task", "list", "--order", "oldest", "-n", "2", "--cursor", err.split()[-1])
    assert (code, [row.split()[0] for row in out.splitlines()[1:]]) == (0, ids[2:])
    assert run("task", "list", "-Q", "nowhere")[:2] == (0, "no task matches\n")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["list", "--since", "yesterday"], 2, "'yesterday' is no time: write it as 2027"),
        (["list", "--args", "{"], 2, "--args: '{' is neither a JSON object or array nor a JSON path"),
        (["list", "--stage", "late"], 2, "'late' is not one of"),
        (["list", "--cursor", "x"], 1, "'x' is no cursor"),
        (["list", "--color"], 2, "No such option"),
        (["revoke"], 2, "give ids of tasks, or conditions such as --queue, or --all (see lavoro task revoke --help)"),
        (["revoke", "an-id", "--all"], 2, "give ids of tasks, or conditions"),
        (["move", "an-id"], 2, "Missing option '--to'"),
        (["move", "--to", "b", "--stage", "running", "--yes"], 1, "tasks of the stage running cannot be moved to b"),
        (["revoke", "--all"], 2, "Revoke: 1 task? There is no terminal to ask on: give --yes; nothing was done"),
    ],
)
def test_bad_input(app: Lavoro, run: Run, arguments: list[str], code: int, words: str) -> None:
    id = send(app, "waiting")
    ended, out, err = run("task", *arguments)
    assert (ended, out) == (code, ""), err
    assert words in err
    assert err.count("\n") == 1
    assert state(app, id) == ("waiting", "PENDING")


def test_all_that_match(app: Lavoro, run: Run) -> None:
    failed = [send(app, "FAILURE") for _ in range(3)]
    done = send(app, "SUCCESS")
    assert run("task", "retry", "--all", "--yes") == (0, "3 tasks started again\n", "")
    assert {state(app, id) for id in failed} == {("waiting", "PENDING")}
    assert state(app, done) == ("finished", "SUCCESS")
    code, out, _ = run("task", "revoke", "--name", "shop.*", "--yes", "--json")
    report = json.loads(out)["report"]
    assert (code, report["done"], report["complete"]) == (0, 3, True)
    assert run("task", "revoke", "-Q", "nowhere", "--yes") == (0, "0 tasks revoked\n", "")


def test_export_writes_all_oldest_first(app: Lavoro, run: Run, tmp_path: Path) -> None:
    ids = [send(app, "waiting") for _ in range(3)]
    lines = run("task", "export")[1].splitlines()
    assert [json.loads(line)["id"] for line in lines] == ids
    assert [each["id"] for each in json.loads(run("task", "export", "--json")[1])] == ids
    assert run("task", "export", "--json", "-Q", "nowhere")[1] == "[]\n"
    code, out, err = run("task", "export", "-o", str(tmp_path / "tasks.json"))
    assert (code, out, err) == (0, "", f"3 tasks written to {tmp_path / 'tasks.json'}\n")
    assert (tmp_path / "tasks.json").read_text().count("\n") == 3
    assert run("-q", "task", "export", "-o", str(tmp_path / "again.json"))[2] == ""


def test_queues(app: Lavoro, run: Run) -> None:
    ids = [send(app, "waiting"), send(app, "scheduled")]
    assert run("queue", "pause", "celery", "typo") == (
        0, "paused: celery, typo\n", "lavoro: no task and no worker is on typo now: is that the name?\n",
    )  # fmt: skip
    found = {each["name"]: each for each in json.loads(run("queue", "list", "--json")[1])}
    one = {"value": 1, "how": "exact"}
    assert (found["celery"]["paused"], found["celery"]["waiting"], found["celery"]["scheduled"]) == (True, one, one)
    assert "paused" in run("queue", "list")[1]
    assert run("queue", "resume", "celery", "typo")[:2] == (0, "resumed: celery, typo\n")
    assert run("queue", "move", "celery", "mail")[0] == 2, "it asks, and there is no terminal"
    assert run("queue", "move", "celery", "mail", "--yes") == (0, "2 tasks moved to mail\n", "")
    assert run("queue", "purge", "mail")[0] == 2
    assert state(app, ids[0]) == ("waiting", "PENDING")
    assert run("queue", "purge", "mail", "--yes") == (0, "deleted 2 tasks from mail\n", "")
    assert [each["name"] for each in json.loads(run("queue", "list", "--json")[1])] == ["celery"]


def test_a_queue(app: Lavoro, run: Run) -> None:
    send(app, "waiting")
    send(app, "running")
    example = send(app, "FAILURE")
    shown = run("queue", "show", "celery")[1]
    assert "queue:     celery\nworkers:   no worker serves it\nwaiting:   1\n" in shown
    assert "1 hour:    0 ended, 0 of them failed" in shown  # the minute is not over
    assert f"{example}  no" in shown
    found = json.loads(run("queue", "show", "celery", "--json")[1])
    assert (found["queue"]["running"]["value"], found["failures"]["groups"][0]["error"]) == (1, "ValueError")
    assert run("queue", "show", "typo") == (
        5, "", "lavoro: no task, no worker and no setting names the queue 'typo'\n",
    )  # fmt: skip


def test_counts_and_failures(app: Lavoro, run: Run) -> None:
    assert run("task", "count") == (0, "there are no tasks\n", "")
    assert run("task", "failures")[1].startswith("nothing has failed since 20")
    ids = [send(app, each) for each in ("waiting", "FAILURE", "FAILURE", "SUCCESS")]
    assert run("task", "count")[1] == "stage     tasks\nfinished      3\nwaiting       1\n"
    assert json.loads(run("task", "count", "--by", "state", "--json")[1])["FAILURE"] == {"value": 2, "how": "exact"}
    lines = run("task", "failures")[1].splitlines()
    assert (lines[0], lines[1].split()) == (
        "Failures:", ["task", "error", "tasks", "first", "last", "example", "message"],
    )  # fmt: skip
    assert lines[2].split()[:3] == ["shop.add", "ValueError", "2"]
    assert ids[2] in lines[2]
    assert "nothing has failed" in run("task", "failures", "--error", "KeyError")[1]
    assert json.loads(run("task", "failures", "--since", "2h", "--json")[1])["complete"]


def test_history(app: Lavoro, run: Run) -> None:
    send(app, "FAILURE")
    with psycopg.connect(app.database.url) as connection:
        connection.execute("update lavoro.finished set finished_at = finished_at - interval '5 minutes'")
        connection.execute("update lavoro.history_mark set until = until - interval '1 hour'")
    with app.database.tx() as tx:
        assert history.count(tx, minutes=5000) is not None
    hours = json.loads(run("history", "hour", "--by", "name", "--json")[1])
    assert [(each["group"], each["states"]) for each in hours] == [("shop.add", {"FAILURE": 1})]
    assert "shop.add" in run("history", "day", "--by", "name")[1]
    assert len(run("history", "minute")[1].splitlines()) in (60, 61, 62)
    assert run("history", "minute", "-Q", "nowhere", "--by", "queue")[1] == "no task has ended in that time\n"


# ------------------------------------------------------------------------------------------------ on a terminal


@pytest.fixture
def folder(tmp_path: Path, migrated_url: str) -> Path:
    (tmp_path / "shop.py").write_text(f"from lavoro import Lavoro\napp = Lavoro('shop', broker={migrated_url!r})\n")
    return tmp_path


def test_a_question_on_a_terminal(app: Lavoro, folder: Path) -> None:
    id = send(app, "waiting")
    code, shown = at_terminal(folder, "task", "revoke", "-A", "shop", "--all", typed="n\n")
    assert (code, "Revoke: 1 task? [y/N]" in shown, "lavoro: aborted" in shown) == (1, True, True)
    assert state(app, id) == ("waiting", "PENDING")
    code, shown = at_terminal(folder, "task", "revoke", "-A", "shop", "--all", typed="y\n")
    assert (code, "1 task revoked" in shown) == (0, True)
    assert "100%" in shown, "a bar"
    assert state(app, id) == ("finished", "REVOKED")


def test_tables_on_a_terminal(app: Lavoro, folder: Path) -> None:
    send(app, "waiting")
    code, shown = at_terminal(folder, "task", "list", "-A", "shop")
    assert (code, "\u2503" in shown) == (0, True)
    assert "\x1b[" in shown
    assert "\x1b[" not in at_terminal(folder, "task", "list", "-A", "shop", "-C")[1]
    assert "\x1b[" not in at_terminal(folder, "task", "list", "-A", "shop", NO_COLOR="1")[1]


def test_an_interrupted_one_says_what_it_did_and_goes_on(
    app: Lavoro, folder: Path, run: Run, eventually: Eventually
) -> None:
    total = 3000
    with psycopg.connect(app.database.url, autocommit=True) as connection:
        connection.execute("select count(lavoro.enqueue('shop.add', '[]')) from generate_series(1, %s)", [total])
        lock = psycopg.connect(app.database.url)
        # The second batch waits for this lock; Ctrl-C comes then.
        chosen = "(select id from lavoro.waiting order by id offset 700 limit 1)"
        lock.execute(f"select from lavoro.waiting where id = {chosen} for update")
        process = subprocess.Popen(
            [sys.executable, "-m", "lavoro", "task", "revoke", "-A", "shop", "--all", "--yes"], cwd=folder, text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        waits = "select 1 from pg_stat_activity where %s = any(pg_blocking_pids(pid))"
        eventually(lambda: connection.execute(waits, [lock.info.backend_pid]).fetchone(), why="it waits for the lock")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        lock.close()
    assert process.returncode == 130
    assert "lavoro: interrupted: 500 tasks revoked; go on with the same command and --cursor " in err
    assert err.count("\n") == 1
    assert run("task", "revoke", "--all", "--yes", "--cursor", err.split()[-1])[1] == f"{total - 500:,} tasks revoked\n"
