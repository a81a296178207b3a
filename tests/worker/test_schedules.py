"""Periodic tasks with real workers: each tick once, on however many nodes."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from lavoro import Lavoro
from lavoro.beat.ticker import Ticker
from lavoro.store.schedules import AHEAD, Coming
from tests.conftest import Eventually
from tests.worker.conftest import PATIENCE, ROOT, StartWorker, rows

APP = """
import json, pathlib, time
from lavoro import Lavoro
from lavoro.schedules import schedule

here = pathlib.Path(__file__).parent
app = Lavoro("shop")

@app.task(bind=True, name="note")
def note(self, text="", seconds=0):
    began, request = time.time(), self.request
    time.sleep(seconds)
    line = [text, request.schedule, str(request.nominal_time), request.late, began, time.time()]
    with (here / "notes").open("a") as file:
        print(json.dumps(line), file=file)

app.conf.beat_schedule = json.loads((here / "schedules.json").read_text())
"""
OFTEN = {"task": "note", "schedule": 0.2, "args": ["often"], "overlap": "allow"}
HOURLY = {"task": "note", "schedule": 3600, "args": ["hourly"]}


class Shop:
    """The folder of an application, with its schedules in a file."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.environment = {"PYTHONPATH": os.pathsep.join([str(ROOT), str(folder)])}
        (folder / "shop.py").write_text(APP)
        self.define({})

    def define(self, schedules: dict[str, Any]) -> None:
        """Give the code these schedules."""
        (self._folder / "schedules.json").write_text(json.dumps(schedules))

    @property
    def notes(self) -> list[list[Any]]:
        """The lines of the tasks that have run."""
        file = self._folder / "notes"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


SENT = "select count(*) from lavoro.tick where outcome = 'sent'"


def test_ticks_come_once(
    shop: Shop, start_worker: StartWorker, migrated_url: str, sender: Lavoro, eventually: Eventually
) -> None:
    """Two nodes run the same schedule; one is killed in the middle, and the other goes on."""
    shop.define({"often": OFTEN, "hourly": HOURLY})
    first, second = (
        start_worker("-c", "2", "-n", f"node{number}", url=migrated_url, app="shop:app", environment=shop.environment)
        for number in (1, 2)
    )
    eventually(lambda: rows(sender, SENT)[0][0] >= 10, timeout=PATIENCE, why="ten ticks")
    first.destroy()
    known = rows(sender, SENT)[0][0]
    eventually(lambda: rows(sender, SENT)[0][0] >= known + 10, timeout=PATIENCE, why="ten more")
    assert second.stop() == 0
    missed = rows(sender, "select reason from lavoro.tick where outcome <> 'sent'")
    assert all("a later tick stands for it" in reason for (reason,) in missed)
    gaps = rows(
        sender,
        "select gap from (select due_at - lag(coalesce(until_at, due_at)) over (order by due_at) as gap"
        " from lavoro.tick where schedule = 'often') g where gap <> interval '200 ms'",
    )
    assert gaps == []
    told = [nominal for _, name, nominal, *_ in shop.notes if name == "often"]
    ticks = {str(due) for (due,) in rows(sender, "select due_at from lavoro.tick where outcome = 'sent'")}
    assert len(told) == len(set(told))
    assert set(told) <= ticks
    assert rows(sender, "select name, runs from lavoro.schedule where name = 'hourly'") == [("hourly", 0)]


@pytest.mark.parametrize(("overlap", "most"), [("skip", {1}), ("queue", {1}), ("allow", {2, 3, 4})])
def test_runs_overlap_only_where_they_may(
    shop: Shop, start_worker: StartWorker, migrated_url: str, sender: Lavoro, eventually: Eventually,
    overlap: str, most: set[int],
) -> None:  # fmt: skip
    shop.define({"slow": {"task": "note", "schedule": 0.5, "args": ["slow", 1.2], "overlap": overlap}})
    for number in (1, 2):
        start_worker("-c", "4", "-n", f"node{number}", url=migrated_url, app="shop:app", environment=shop.environment)
    eventually(lambda: len(shop.notes) >= 3, timeout=PATIENCE, why="three runs")
    edges = sorted(edge for *_, began, ended in shop.notes for edge in ((began, 1), (ended, -1)))
    running = [sum(change for _, change in edges[: place + 1]) for place in range(len(edges))]
    assert max(running) in most
    skipped = (
        "select from lavoro.tick where outcome = 'skipped' and reason like 'overlap: the task of the tick before, %%'"
    )
    assert bool(rows(sender, skipped)) == (overlap != "allow")


def test_a_tick_cancels_the_run_before(
    shop: Shop, start_worker: StartWorker, migrated_url: str, sender: Lavoro, eventually: Eventually
) -> None:
    shop.define({"endless": {"task": "note", "schedule": 1, "args": ["endless", 600], "overlap": "cancel"}})
    start_worker("-c", "4", url=migrated_url, app="shop:app", environment=shop.environment)
    ended = "select count(*) from lavoro.finished where state = 'REVOKED'"
    eventually(lambda: rows(sender, ended)[0][0] >= 2, timeout=PATIENCE, why="two runs are cancelled")
    assert rows(sender, "select count(*) from lavoro.running")[0][0] <= 2


def test_one_ticker_looks_at_the_time_and_the_others_a_moment_later(sender: Lavoro) -> None:
    """A ticker that finds nothing at the time has seen that another one leads; other looks say nothing."""
    ticker = Ticker(sender)

    def pause(*, served: int, late: bool, coming: Coming) -> float:
        ticker.due = 1e9 if late else 0.0
        ticker._learn(served, coming)
        return ticker._pause(coming)

    soon = Coming(None, 20.0)
    assert pause(served=0, late=False, coming=soon) < 20 - AHEAD + 0.1
    assert pause(served=0, late=False, coming=Coming(-1.0, 20.0)) <= 1.5  # a row is locked
    assert pause(served=0, late=True, coming=soon) < 20 - AHEAD + 0.1
    assert pause(served=0, late=True, coming=soon) >= 20 - AHEAD + 0.5
    assert pause(served=3, late=True, coming=soon) < 20 - AHEAD + 0.1
    assert pause(served=0, late=True, coming=soon) >= 20 - AHEAD + 0.5
    assert pause(served=3, late=True, coming=soon) < 20 - AHEAD + 0.1
    waits = Coming(0.5, 20.0)  # for the end of the task of the last tick
    assert pause(served=0, late=True, coming=waits) < 0.6
    assert pause(served=0, late=True, coming=soon) >= 20 - AHEAD + 0.5
    ticker.changed()
    assert pause(served=0, late=False, coming=soon) < 20 - AHEAD + 0.1
    assert pause(served=0, late=False, coming=Coming(None, None)) == 60.0


def test_an_outage_goes_by_the_rule_of_each_schedule(
    shop: Shop, start_worker: StartWorker, migrated_url: str, sender: Lavoro, eventually: Eventually
) -> None:
    """All workers were away for ten minutes: three ticks were missed, the last of them four minutes ago."""
    usual = {"task": "note", "schedule": 180}
    shop.define({rule: {**usual, "args": [rule], "missed": rule} for rule in ("skip", "once", "all")})
    app = {"url": migrated_url, "app": "shop:app", "environment": shop.environment}
    defined = "select count(*) from lavoro.schedule where next_at > now()"
    first = start_worker("-c", "2", **app)
    eventually(lambda: rows(sender, defined)[0][0] == 3, timeout=PATIENCE, why="the schedules are defined")
    assert first.stop() == 0
    with sender.database.engine.begin() as connection:
        connection.exec_driver_sql(
            "update lavoro.schedule set next_at = clock_timestamp() - interval '7 min',"
            " due_at = clock_timestamp() - interval '7 min'"
        )
    start_worker("-c", "2", **app)
    eventually(lambda: len(shop.notes) >= 4, timeout=PATIENCE, why="the missed ticks are caught up")
    found = rows(
        sender,
        "select schedule, outcome, sum(times), bool_and(late) from lavoro.tick group by 1, 2 order by 1, 2",
    )
    assert found == [
        ("all", "sent", 3, True), ("once", "sent", 1, False), ("once", "skipped", 2, True), ("skip", "sent", 1, False),
        ("skip", "skipped", 2, True),
    ] or found == [
        ("all", "sent", 3, True), ("once", "sent", 1, True), ("once", "skipped", 2, True), ("skip", "skipped", 3, True),
    ]  # fmt: skip


def test_changes_are_in_effect_within_a_second(
    shop: Shop, start_worker: StartWorker, migrated_url: str, sender: Lavoro, eventually: Eventually
) -> None:
    """Rows are added, changed and paused while a worker runs."""
    start_worker("-c", "2", url=migrated_url, app="shop:app", environment=shop.environment)

    def write(statement: str) -> None:
        with sender.database.engine.begin() as connection:
            connection.exec_driver_sql(statement)

    write(
        "insert into lavoro.schedule (name, task, args, timing, starts_at)"
        " values ('new', 'note', '[\"new\"]', '@every 1h', clock_timestamp() + interval '1 s')"
    )
    eventually(lambda: shop.notes, timeout=PATIENCE, why="the new schedule has run")
    [[_, name, _, late, began, _]] = shop.notes
    [(due,)] = rows(sender, "select extract(epoch from due_at)::float8 from lavoro.tick")
    assert (name, late) == ("new", False)
    assert -0.01 < began - due < 10  # the next look without a notification would come in a minute
    write("update lavoro.schedule set timing = '@every 0.3s', starts_at = null")
    eventually(lambda: len(shop.notes) >= 4, timeout=PATIENCE, why="it runs more often")
    write("update lavoro.schedule set paused_at = clock_timestamp()")
    time.sleep(1.0)  # the longest time that a change may take
    known = rows(sender, SENT)
    time.sleep(1.5)  # five ticks that must not come
    assert rows(sender, SENT) == known
    assert rows(sender, "select error from lavoro.schedule") == [(None,)]


def test_a_new_release_changes_only_the_schedules_that_it_defines_anew(
    shop: Shop, start_worker: StartWorker, migrated_url: str, sender: Lavoro, eventually: Eventually
) -> None:
    """What did not change keeps its times and does not run because of the start; a reload defines too."""
    shop.define({"often": OFTEN, "hourly": HOURLY, "gone": {**HOURLY, "args": ["gone"]}})
    worker = start_worker("-c", "2", url=migrated_url, app="shop:app", environment=shop.environment)
    state = "select name, timing, next_at, defined_at, runs from lavoro.schedule where name <> 'often' order by name"
    eventually(lambda: rows(sender, SENT)[0][0] >= 2, timeout=PATIENCE, why="schedules run")
    gone, hourly = rows(sender, state)
    with sender.database.engine.begin() as connection:
        connection.exec_driver_sql("update lavoro.schedule set paused_at = clock_timestamp() where name = 'often'")
    shop.define({"often": OFTEN, "hourly": HOURLY, "daily": {**HOURLY, "schedule": 86400}})
    worker.send(signal.SIGHUP)
    eventually(lambda: rows(sender, state)[0][0] == "daily", timeout=PATIENCE, why="the new code is loaded")
    daily, kept = rows(sender, state)
    assert kept == hourly
    assert (daily[1], daily[4]) == ("@every 86400s", 0)
    assert rows(sender, "select paused_at is not null from lavoro.schedule where name = 'often'") == [(True,)]
    assert gone[0] == "gone"
    shop.define({})
    worker.send(signal.SIGHUP)
    eventually(lambda: not rows(sender, "select from lavoro.schedule"), timeout=PATIENCE, why="all are removed")


def test_wrong_schedules_stop_no_others(
    shop: Shop, start_worker: StartWorker, migrated_url: str, sender: Lavoro, eventually: Eventually
) -> None:
    shop.define({
        "often": OFTEN, "bad": {"task": "note", "schedule": "61 * * * *"}, "odd": {**OFTEN, "overlop": "skip"},
    })  # fmt: skip
    with sender.database.engine.begin() as connection:
        connection.exec_driver_sql(
            "insert into lavoro.schedule (name, task, timing, zone) values"
            " ('sql', 'note', 'every day', null), ('zone', 'note', '@daily', 'Mars/Base')"
        )
    worker = start_worker("-c", "2", url=migrated_url, app="shop:app", environment=shop.environment)
    eventually(lambda: rows(sender, SENT)[0][0] >= 5, timeout=PATIENCE, why="the good one runs")
    errors = dict(rows(sender, "select name, error from lavoro.schedule where error is not null"))
    assert "'every day' has 2 fields" in errors["sql"]
    assert "'Mars/Base' is not known" in errors["zone"]
    for words in (
        "the schedule 'bad' cannot be used: field 1 (minute) of the crontab '61 * * * *'",
        "the schedule 'odd' has an unknown key 'overlop': write 'overlap'",
        "the schedule 'sql' cannot go on until it is changed",
    ):
        assert worker.log.count(words) == 1, worker.log
