"""Periodic tasks with real workers: each tick once, on however many nodes."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from lavoro import Lavoro
from tests.conftest import Eventually
from tests.worker.conftest import PATIENCE, ROOT, StartWorker, rows

APP = """
import json, pathlib
from lavoro import Lavoro
from lavoro.schedules import schedule

here = pathlib.Path(__file__).parent
app = Lavoro("shop")

@app.task(bind=True, name="note")
def note(self, text):
    request = self.request
    with (here / "notes").open("a") as file:
        print(json.dumps([text, request.schedule, str(request.nominal_time), request.late]), file=file)

app.add_periodic_task(0.2, note.s("often"), name="often", overlap="allow")
app.conf.beat_schedule["never"] = {"task": "note", "schedule": 3600, "args": ["never"]}
"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    (tmp_path / "shop.py").write_text(APP)
    return tmp_path


def at(shop: Path) -> dict[str, str]:
    return {"PYTHONPATH": os.pathsep.join([str(ROOT), str(shop)])}


def test_ticks_come_once(
    shop: Path, start_worker: StartWorker, migrated_url: str, sender: Lavoro, eventually: Eventually
) -> None:
    """Two nodes run the same schedule; one is killed in the middle."""
    first, second = (
        start_worker("-c", "2", "-n", f"node{number}", url=migrated_url, app="shop:app", environment=at(shop))
        for number in (1, 2)
    )
    sent = "select count(*) from lavoro.tick where outcome = 'sent'"
    eventually(lambda: rows(sender, sent)[0][0] >= 10, timeout=PATIENCE)
    first.send(signal.SIGKILL)
    known = rows(sender, sent)[0][0]
    eventually(lambda: rows(sender, sent)[0][0] >= known + 10, timeout=PATIENCE)
    assert second.stop() == 0
    missed = rows(sender, "select due_at, until_at, times, reason from lavoro.tick where outcome <> 'sent'")
    assert all("a later tick stands for it" in reason for *_, reason in missed)
    gaps = rows(
        sender,
        "select gap from (select due_at - lag(coalesce(until_at, due_at)) over (order by due_at) as gap"
        " from lavoro.tick where schedule = 'often') g where gap <> interval '200 ms'",
    )
    assert gaps == []
    assert rows(sender, "select name, runs from lavoro.schedule where name = 'never'") == [("never", 0)]
