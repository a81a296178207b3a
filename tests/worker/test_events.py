"""Monitors are told what workers and tasks do, from rows: each event once, in order, and nothing of before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lavoro import Lavoro
from tests.conftest import Eventually
from tests.worker.conftest import PATIENCE, StartWorker

COMMANDED = "tests.worker.commanded"
TOLD = "select bool_or(task_events) from lavoro.worker where stopped_at is null"


class Monitor:
    """What a receiver has heard."""

    def __init__(self, app: Lavoro) -> None:
        self.heard: list[dict[str, Any]] = []
        self.receiver = app.events.Receiver(handlers={"*": self.heard.append})
        self._looks = self.receiver.itercapture(timeout=PATIENCE)

    def until(self, *types: str, uuid: str | None = None) -> list[dict[str, Any]]:
        """Hear until the last of these types has come; return the events of the task, or of the workers."""
        while not (found := self.of(uuid)) or found[-1]["type"] != types[-1]:
            next(self._looks)
        assert [event["type"] for event in found] == list(types)
        return found

    def of(self, uuid: str | None) -> list[dict[str, Any]]:
        """The events of a task."""
        return [event for event in self.heard if event.get("uuid") == uuid and event["type"] != "worker-heartbeat"]


def test_the_events_of_tasks(
    start_worker: StartWorker, sender: Lavoro, eventually: Eventually, migrated_url: str, tmp_path: Path
) -> None:
    start_worker("-c", "3", "-n", "one@here", "-E", url=migrated_url, app=COMMANDED)
    before = sender.send_task("add", [1, 2])
    assert before.get(timeout=PATIENCE) == 3
    monitor = Monitor(sender)
    [online] = monitor.until("worker-online")
    assert (online["hostname"], online["sw_ident"], online["active"]) == ("one@here", "lavoro", 0)
    # A task that began and ended between two looks
    result = sender.send_task("add", [1, 2])
    assert result.get(timeout=PATIENCE) == 3
    received, started, succeeded = monitor.until("task-received", "task-started", "task-succeeded", uuid=result.id)
    assert (received["name"], received["args"], received["kwargs"]) == ("add", "(1, 2)", "{}")
    assert (succeeded["result"], succeeded["hostname"]) == ("3", "one@here")
    assert received["timestamp"] <= started["timestamp"] <= succeeded["timestamp"]
    assert received["clock"] < started["clock"] < succeeded["clock"]
    assert monitor.of(before.id) == []
    # One that runs for longer
    held = sender.send_task("hold", [str(tmp_path / "gate")])
    monitor.until("task-received", "task-started", uuid=held.id)
    (tmp_path / "gate").touch()
    monitor.until("task-received", "task-started", "task-succeeded", uuid=held.id)
    # What the worker is told
    control, options = sender.control, {"reply": True, "timeout": PATIENCE}
    assert control.enable_events(**options) == [{"one@here": {"ok": "task events already enabled"}}]
    assert control.disable_events(**options) == [{"one@here": {"ok": "task events disabled"}}]
    eventually(lambda: not sender.database.open("test").connection.execute(TOLD).fetchone()[0], timeout=PATIENCE)
    untold, told = sender.send_task("add", [1, 2]), sender.send_task("add", [1, 2])
    assert untold.get(timeout=PATIENCE) == 3
    assert told.get(timeout=PATIENCE) == 3
    assert control.enable_events(**options) == [{"one@here": {"ok": "task events enabled"}}]
