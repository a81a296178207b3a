"""The load chooses the number of slots between two bounds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lavoro import Lavoro
from lavoro.store import tasks
from lavoro.store.tx import Tx
from tests.conftest import Eventually
from tests.worker.conftest import PATIENCE, Ledger, StartWorker, rows


@pytest.mark.parametrize("pool", ["gevent", "threads", "prefork"])
def test_slots_follow_the_load(
    start_worker: StartWorker, sender: Lavoro, ledger: Ledger, eventually: Eventually, migrated_url: str,
    tmp_path: Path, pool: str,
) -> None:  # fmt: skip
    """More at once when tasks wait, no more than the most; fewer after a time without need, no fewer than the least."""
    worker = start_worker(
        "-P", pool, "--autoscale", "4,2", "-n", "one@here", url=migrated_url, environment={"AUTOSCALE_KEEPALIVE": "1"}
    )
    inspect = sender.control.inspect("one@here", timeout=PATIENCE)

    def told() -> dict[str, Any]:
        return (inspect.stats() or {}).get("autoscaler", {})

    assert told() == {"max": 4, "min": 2, "current": 2, "qty": 0}
    gate = tmp_path / "gate"
    held = [sender.send_task("hold", [str(gate)]) for _ in range(6)]
    eventually(lambda: len(ledger.lines("start")) == 4, timeout=PATIENCE, why="four run")
    assert told() == {"max": 4, "min": 2, "current": 4, "qty": 4}
    assert sender.control.autoscale(5, 1, reply=True, timeout=PATIENCE) == [
        {"one@here": {"ok": "autoscale now max=5 min=1"}}
    ]
    eventually(lambda: len(ledger.lines("start")) == 5, timeout=PATIENCE, why="the bound is another one")
    gate.touch()
    assert [result.get(timeout=PATIENCE) for result in held] == ["held"] * 6
    eventually(lambda: told()["current"] == 1, timeout=PATIENCE, why="one is enough")
    assert len(ledger.lines("start")) == 6  # none was cut
    assert sender.send_task("add", [1, 2]).get(timeout=PATIENCE) == 3
    assert worker.stop() == 0


def test_bounds_of_a_running_worker(
    start_worker: StartWorker, sender: Lavoro, eventually: Eventually, migrated_url: str
) -> None:
    """A worker without bounds gets some by a command; commands that change the number of slots move them."""
    start_worker("-P", "threads", "-c", "1", "-n", "one@here", url=migrated_url)
    control, inspect = sender.control, sender.control.inspect("one@here", timeout=PATIENCE)
    assert "autoscaler" not in (inspect.stats() or {})

    def ask(command: str, **arguments: Any) -> Any:
        return inspect._request(command, **arguments)

    assert ask("autoscale", max=1, min=2) == {"error": "autoscale takes 1 <= min <= max, not max=1 min=2"}
    control.autoscale(3, 2, reply=True, timeout=PATIENCE)
    assert (inspect.stats() or {})["autoscaler"] == {"max": 3, "min": 2, "current": 2, "qty": 0}
    control.pool_grow(4, reply=True, timeout=PATIENCE)
    assert (inspect.stats() or {})["autoscaler"] == {"max": 6, "min": 2, "current": 6, "qty": 0}
    control.pool_shrink(5, reply=True, timeout=PATIENCE)
    assert (inspect.stats() or {})["autoscaler"] == {"max": 6, "min": 1, "current": 1, "qty": 0}
    # An idle worker asks the database nothing for this
    asked = "select calls from pg_stat_statements where query like '%least(coalesce(sum(due.number)%'"
    if rows(sender, "select 1 from pg_extension where extname = 'pg_stat_statements'"):
        assert rows(sender, asked) == []


def test_what_has_no_bounds(start_worker: StartWorker, sender: Lavoro, migrated_url: str) -> None:
    worker = start_worker("-P", "solo", "--autoscale", "3,1", url=migrated_url, ready=False)
    assert worker.wait() == 1
    assert "--autoscale: a solo pool has one slot; use another pool (-P)" in worker.log
    worker = start_worker("--autoscale", "3", url=migrated_url, ready=False, environment={"AUTOSCALE_KEEPALIVE": "x"})
    assert worker.wait() == 1
    assert "AUTOSCALE_KEEPALIVE is a number of seconds, not 'x'" in worker.log


def test_due_tasks_are_counted(sender: Lavoro, tx: Tx) -> None:
    for queue, priority, countdown in [("a", 0, 0), ("a", 5, 0), ("a", 5, 60), ("b", 0, 0), ("c", 0, 0)]:
        sender.send_task("add", [1, 2], queue=queue, priority=priority, countdown=countdown)
    assert tasks.count_due(tx, ["a", "b", "none"], most=10) == 3
    assert tasks.count_due(tx, ["a", "b"], most=2) == 2
    assert tasks.count_due(tx, ["none"], most=2) == 0
