"""``lavoro limit`` and ``app.limits``: what limits count and hold, and an operator's changes."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Iterator

import pytest

from lavoro import Lavoro, Limit, Rate
from lavoro.cli import run_for
from lavoro.exceptions import LimitNotFound
from lavoro.protocol.message import Job
from lavoro.store import limits, tasks
from lavoro.store.tx import Tx
from tests.store.walk import registered, rows, succeeded, take, value

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def app(migrated_url: str) -> Iterator[Lavoro]:
    with Lavoro("shop", broker=migrated_url, set_as_current=False) as app:
        yield app


@pytest.fixture
def tx(app: Lavoro) -> Iterator[Tx]:
    tx = app.database.open("lavoro-test")
    registered(tx)
    yield tx
    tx.connection.close()


@pytest.fixture
def run(app: Lavoro, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.delenv("COLUMNS", raising=False)

    def run(*arguments: str) -> tuple[int, str, str]:
        code = run_for(app, arguments)
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


@pytest.fixture
def job(app: Lavoro, tx: Tx) -> Job:
    """A task that runs, while two others are held for its limit."""
    for _ in range(3):
        app.send_task("shop.import", limits=[Limit("tenant:5", running=1)])
    [job] = take(tx)
    return job


def test_a_list_shows_what_runs_and_what_is_held(run: Run, job: Job) -> None:
    code, out, _ = run("limit", "list")
    [title, head, row] = out.splitlines()
    assert (code, title, head.split()) == (0, "Limits:", ["limit", "terms", "running", "held", "oldest", "note"])
    assert row.split() == ["tenant:5", "1", "at", "a", "time", "1", "2", "0", "s"]
    [shown] = json.loads(run("limit", "list", "--json")[1])
    assert (shown["key"], shown["running"], shown["taken"], shown["held"]) == ("tenant:5", 1, 1, 2)


def test_show_names_the_tasks_that_run(run: Run, job: Job) -> None:
    assert str(job.id) in run("limit", "show", "tenant:5")[1]
    shown = json.loads(run("limit", "show", "tenant:5", "--json")[1])
    assert [(each["id"], each["name"], each["node"]) for each in shown["holders"]] == [
        (str(job.id), "shop.import", "node@test")
    ]


def test_a_held_task_says_what_it_waits_for(run: Run, job: Job, tx: Tx) -> None:
    held = value(tx, "select id::text from lavoro.held order by id limit 1")
    why = json.loads(run("task", "show", held, "--json")[1])["why"]
    assert why == f"waits for the limit 'tenant:5': 1 of 1 task run ({job.id})"


def test_a_larger_number_lets_held_tasks_come_and_stays(app: Lavoro, run: Run, job: Job, tx: Tx) -> None:
    assert run("limit", "set", "tenant:5", "--running", "2") == (0, "tenant:5: 2 at a time\n", "")
    assert len(take(tx)) == 1
    app.send_task("shop.import", limits=[Limit("tenant:5", running=9)])
    assert take(tx) == []
    assert run("limit", "set", "tenant:5", "--reset")[0] == 0
    app.send_task("shop.import", limits=[Limit("tenant:5", running=9)])
    assert len(take(tx)) == 1


def test_a_pause_lets_none_start_until_it_is_over(run: Run, job: Job, tx: Tx) -> None:
    assert run("limit", "pause", "tenant:5") == (0, "paused: tenant:5\n", "")
    tasks.finish(tx, 1, [succeeded(job)])
    assert take(tx) == []
    assert "paused" in run("limit", "list")[1]
    assert run("limit", "resume", "tenant:5") == (0, "resumed: tenant:5\n", "")
    assert len(take(tx)) == 1
    run("limit", "pause", "tenant:5", "--seconds", "3600")
    paused = json.loads(run("limit", "show", "tenant:5", "--json")[1])["limit"]["paused_until"]
    left = dt.datetime.fromisoformat(paused) - dt.datetime.now(dt.timezone.utc)
    assert 3500 < left.total_seconds() <= 3601


def test_a_lost_slot_is_counted_anew(run: Run, job: Job, tx: Tx) -> None:
    """A row was deleted by hand: its slot is found by the recount, which the upkeep makes too."""
    rows(tx, "delete from lavoro.running returning 1")
    assert take(tx) == []
    assert run("limit", "release", "tenant:5") == (0, "tenant:5: 0 run, 1 held\n", "")
    assert len(take(tx)) == 1
    assert limits.recount(tx) == 0


def test_a_rate_is_shown_and_set(app: Lavoro, run: Run, tx: Tx) -> None:
    app.send_task("shop.mail", limits=Rate("mail", 10, per=60))
    take(tx)
    assert "10 in 60 s, 1 at once" in run("limit", "list")[1]
    assert run("limit", "set", "mail", "--rate", "5", "--per", "1", "--burst", "2") == (
        0, "mail: 5 in 1 s, 2 at once\n", "",
    )  # fmt: skip
    assert app.limits["mail"].taken is None


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("show", "mail"), 5, "there is no limit 'mail': no task that it counts has come to a worker yet"),
        (("pause", "mail"), 5, "there is no limit 'mail'"),
        (("release", "mail"), 5, "there is no limit 'mail'"),
        (("set", "mail"), 2, "give --running, --rate or both; or --reset alone"),
        (("set", "mail", "--running", "-1"), 2, "-1 is not in the range"),
    ],
)
def test_errors_say_what_is_wrong(run: Run, arguments: tuple[str, ...], code: int, words: str) -> None:
    ended, out, err = run("limit", *arguments)
    assert (ended, out, err.count("\n")) == (code, "", 1)
    assert words in err


def test_unknown_limits_raise(app: Lavoro) -> None:
    assert list(app.limits) == []
    with pytest.raises(LimitNotFound, match="there is no limit 'mail'"):
        app.limits.resume("mail")


def test_old_limits_and_keys_are_forgotten(app: Lavoro, job: Job, tx: Tx) -> None:
    rows(tx, "update lavoro.limit_state set used_at = used_at - interval '2 days' returning 1")
    limits.forget(tx)
    assert [limit.key for limit in app.limits] == ["tenant:5"]  # it is used
    rows(tx, "delete from lavoro.held returning 1")
    tasks.finish(tx, 1, [succeeded(job)])
    rows(tx, "update lavoro.limit_state set used_at = used_at - interval '2 days', holds = false returning 1")
    limits.forget(tx)
    assert list(app.limits) == []
