"""The verbs that send, ask and examine: ``call``, ``result``, ``check``, ``db``, ``report``, ``shell``."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from lavoro import Lavoro
from lavoro.cli import run_for
from lavoro.protocol.ids import task_uuid
from tests.doors.test_cli import lavoro, refuses

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def app(migrated_url: str) -> Iterator[Lavoro]:
    """An application with two tasks and a route."""
    with Lavoro("shop", broker=migrated_url, set_as_current=False, task_routes={"shop.a*": "sums"}) as app:

        @app.task(name="shop.add")
        def add(x: int, y: int) -> int:
            return x + y

        yield app


@pytest.fixture
def run(app: Lavoro, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a verb for the application; return its exit code, and what it printed."""

    def run(*arguments: str) -> tuple[int, str, str]:
        code = run_for(app, arguments)
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def stored(app: Lavoro, id: str) -> tuple[object, ...]:
    with psycopg.connect(app.database.url) as connection:
        query = "select name, queue, priority, args, kwargs, expires_at is not null, due_at from lavoro.waiting"
        row = connection.execute(f"{query} where id = %s", [task_uuid(id)]).fetchone()
    assert row is not None
    return row


def test_call_takes_all_options(app: Lavoro, run: Run) -> None:
    code, out, err = run(
        "call", "shop.add", "-a", "[1]", "-k", '{"y": 2}', "--eta", "2030-01-31T09:00:00Z", "--expires", "2031-01-01",
        "--serializer", "json", "--queue", "mine", "--priority", "3",
    )  # fmt: skip
    assert (code, err) == (0, "")
    *first, due = stored(app, out.strip())
    assert first == ["shop.add", "mine", 3, [1], {"y": 2}, True]
    assert str(due).startswith("2030-01-31 09:00:00")


def test_call_takes_the_route_and_tells_of_a_name_it_does_not_know(app: Lavoro, run: Run) -> None:
    code, out, err = run("call", "shop.ad", "--countdown", "60")
    assert (code, err) == (0, "lavoro: the application has no task 'shop.ad': did you mean 'shop.add'?\n")
    assert stored(app, out.strip())[:2] == ("shop.ad", "sums")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-a", "{}"], "'-a' / '--args': must be a JSON array, not {}"),
        (["-k", "1,2"], "must be a JSON object, and '1,2' is no JSON"),
        (["--eta", "soon"], "'soon' is no time: write it as 2027-01-31T09:00"),
        (["--expires", "soon"], "'soon' is no time"),
        (["--countdown", "x"], "'x' is not a valid float"),
    ],
)
def test_call_says_what_is_wrong(run: Run, arguments: list[str], words: str) -> None:
    code, out, err = run("call", "shop.add", *arguments)
    assert (code, out) == (2, "")
    assert words in err
    assert err.count("\n") == 1


def test_result_prints_what_a_task_returned(app: Lavoro, run: Run) -> None:
    done, failed, waiting = (app.send_task("shop.add", (1, 2)).id for _ in range(3))
    app.complete(done, {"sum": "\u00e9"})
    app.fail(failed, ValueError("two\nlines"))
    assert run("result", done) == (0, "{'sum': '\u00e9'}\n", "")
    assert run("result", done, "-t", "shop.add")[0] == 0
    assert run("result", failed) == (3, "", f"lavoro: task {failed} ended as FAILURE: ValueError: two\\nlines\n")
    code, out, _ = run("result", failed, "--json")
    assert (code, json.loads(out)["error"], json.loads(out)["result"]) == (3, "ValueError: two\nlines", None)
    assert run("result", waiting, "--timeout", "0.05") == (
        4,
        "",
        f"lavoro: task {waiting} has not ended: it is PENDING\n",
    )
    code, _, err = run("result", "nothing")
    assert (code, err) == (5, "lavoro: there is no task 'nothing': check the id; its result may have expired\n")
    assert "the application has no task 'shop.no'" in run("result", done, "-t", "shop.no")[2]


def test_check_of_a_sound_application(run: Run) -> None:
    assert run("check") == (0, "nothing found\n", "")


def test_check_finds_each_planted_fault(migrated_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    with Lavoro(
        "shop", broker=migrated_url, set_as_current=False, worker_pool="eventlet", worker_direct=True,
        task_routes={"shop.gone": "a", "shop.*": "b"}, task_create_missing_queues=False, task_queues=["b"],
        accept_content=["json"],
        beat_schedule={"nightly": {"task": "shop.gone", "schedule": 60}},
    ) as app:  # fmt: skip
        for name, options in {
            "shop.slow": {"soft_time_limit": 20, "time_limit": 10},
            "shop.lost": {"queue": "nowhere"},
            "shop.pickled": {"serializer": "pickle"},
            "shop.odd": {"serializer": "protobuf"},
        }.items():
            app.task(name=name, **options)(lambda: None)  # type: ignore[call-overload]
        code = run_for(app, ["check", "--json"])
        findings = json.loads(capsys.readouterr().out)
        app.conf.beat_scheduler = "nosuch.Scheduler"
        run_for(app, ["check", "--json"])
        findings += json.loads(capsys.readouterr().out)
    assert code == 1
    assert {(each["check"], each["which"]) for each in findings} >= {
        ("setting", "worker_pool"),
        ("setting", "worker_direct"),
        ("time limit", "shop.slow"),
        ("route", "shop.lost"),
        ("route", "shop.gone"),
        ("serializer", "shop.pickled"),
        ("serializer", "shop.odd"),
        ("schedule", "beat_scheduler"),
        ("schedule", "nightly"),
    }
    assert all(each["problem"] and each["repair"] for each in findings)


def test_check_compares_the_application_with_what_is_stored(app: Lavoro, run: Run, migrated_url: str) -> None:
    app.send_task("shop.ad")
    app.send_task("shop.old", blockers=[app.send_task("shop.add", (1, 2))])
    app.send_task("blog.post", queue="blog")
    code, out, _ = run("check")
    assert code == 1
    assert out.splitlines() == [
        "stored task: shop.ad: 1 task waits on the queue sums, and this application has no such task",
        "    -- did you mean 'shop.add'? keep the name until they have run, or let another worker have it",
        "stored task: shop.old: 1 task waits on the queue celery, and this application has no such task",
        "    -- keep the name until they have run, or let another worker have it",
        "2 problems found",
    ]
    with app.database.tx() as tx:
        tx.connection.execute("delete from lavoro.waiting; delete from lavoro.held")
        assert run("check") == (0, "nothing found\n", "")
        tx.connection.execute("drop index lavoro.waiting_claim")
    assert "schema: lavoro.waiting_claim: does not exist" in run("check")[1]


def test_check_of_the_database(app: Lavoro, run: Run, migrated_url: str) -> None:
    with psycopg.connect(migrated_url, autocommit=True) as connection:
        connection.execute("insert into lavoro.schedule (name, task, timing) values ('odd', 'shop.add', 'whenever')")
        code, out, _ = run("check")
        assert code == 1
        assert "schedule: odd: " in out
        connection.execute("delete from lavoro.schedule")
        connection.execute("delete from lavoro.meta where version > 1")
        code, out, _ = run("check")
        assert code == 1
        assert "schema: lavoro: is at version 1, this release needs" in out
        assert "\n    lavoro migrate -A " in out
    assert run("check", "--code") == (0, "nothing found\n", "")
    app.conf.broker_url = "postgresql://postgres@127.0.0.1:1/nowhere"
    code, out, err = run("check")
    assert (code, err) == (1, "")
    assert out.startswith("database: postgresql://postgres@127.0.0.1:1/nowhere: cannot connect")


def test_db_shows_dead_rows_locks_and_snapshots(app: Lavoro, run: Run, migrated_url: str) -> None:
    with psycopg.connect(migrated_url, application_name="holder") as holder, psycopg.connect(migrated_url) as other:
        holder.execute("create table if not exists lavoro.held_here ()")
        holder.execute("lock table lavoro.queue")
        pid = holder.info.backend_pid
        waiting = subprocess.Popen(
            [sys.executable, "-c", f"import psycopg; psycopg.connect({migrated_url!r}).execute('table lavoro.queue')"]
        )
        try:
            while not other.execute(
                "select 1 from pg_stat_activity where %s = any(pg_blocking_pids(pid))", [pid]
            ).fetchone():
                other.rollback()
            found = json.loads(run("db", "--json")[1])
            shown = run("db")[1]
        finally:
            holder.rollback()
            assert waiting.wait(60) == 0
    assert [each["blocked_by"] for each in found["sessions"] if each["blocked_by"]] == [[pid]]
    assert found["oldest_session"] is not None
    assert {"waiting", "running", "schedule"} <= {each["name"] for each in found["tables"]}
    assert {each["table"] for each in found["partitions"]} == {"finished_success", "finished_failure", "attempt"}
    assert f"lock of {pid}" in shown
    assert "1 session waits for locks of others\n" in shown


def test_report_tells_no_secrets(app: Lavoro, run: Run) -> None:
    app.conf.lavoro_signing_keys = {"k": "very secret"}
    code, out, _ = run("report")
    assert code == 0
    assert f"Python {sys.version.split()[0]}" in out
    assert "PostgreSQL 1" in out
    assert "task_routes: {'shop.a*': 'sums'}" in out
    assert "very secret" not in out + run("report", "--json")[1]
    app.conf.broker_url = "postgresql://postgres:hidden@127.0.0.1:1/nowhere"
    code, out, _ = run("report")
    assert (code, "hidden" in out, "cannot connect" in out) == (0, False, True)


def test_shell_has_the_application_and_its_tasks(tmp_path: Path, migrated_url: str) -> None:
    (tmp_path / "shop.py").write_text(
        "from lavoro import Lavoro\napp = Lavoro('shop')\n@app.task\ndef add(x, y): return x + y\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "lavoro", "shell", "-A", "shop", "-b", migrated_url], cwd=tmp_path, text=True,
        input="print(add(1, 2), app.main, celery is app, group(add.s(1, 2)).tasks[0].task)\n", capture_output=True,
        check=True, timeout=60, env={"PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    assert "3 shop True shop.add" in done.stdout
    refuses(lavoro(tmp_path, "shell", "-A", "shop", "-B"), "bpython is not installed: pip install bpython")
    refuses(lavoro(tmp_path, "shell", "-A", "shop", "--gevent"), "python -m gevent.monkey -m lavoro shell", code=2)


def test_upgrade_gives_settings_their_names(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "conf.py"
    old = "CELERY_ALWAYS_EAGER = True  # CELERY_ALWAYS_EAGER\r\nDEBUG = 1\nX = {'CELERYD_POOL': \"CELERYD_POOL is\"}\n"
    new = "task_always_eager = True  # CELERY_ALWAYS_EAGER\r\nDEBUG = 1\nX = {'worker_pool': \"CELERYD_POOL is\"}\n"
    file.write_bytes(old.encode())
    code, out, err = run("upgrade", "settings", str(file))
    assert (code, file.read_bytes()) == (0, new.encode())
    assert out.splitlines()[:2] == ["CELERY_ALWAYS_EAGER -> task_always_eager", "CELERYD_POOL -> worker_pool"]
    assert (tmp_path / "conf.py.orig").read_bytes() == old.encode()
    assert err == f"the file as it was is {file}.orig\n"
    assert run("upgrade", "settings", str(file)) == (0, f"nothing to replace in {file}\n", "")
    file.write_bytes(old.encode())
    found = json.loads(run("upgrade", "settings", "--django", "--no-backup", "--json", str(file))[1])
    assert found["renamed"]["CELERYD_POOL"] == "CELERY_WORKER_POOL"
    assert found["backup"] is None
    file.write_text("def (")
    code, _, err = run("upgrade", "settings", str(file))
    assert (code, file.read_text(), "cannot be read as Python" in err) == (1, "def (", True)
