"""A loop that is blocked for longer than it may be: its process ends, and only who has blocked it is to blame."""

from __future__ import annotations

from pathlib import Path

import pytest

from lavoro import Lavoro
from tests.conftest import Eventually
from tests.worker.conftest import PATIENCE, Ledger, StartWorker, rows

WAYS = {
    "a loop in Python": 1,
    "a call that lets other threads run": 1,
    "a call that lets nothing run": 1,
    "a stop by signal": 0,
}
"""How many crashes it counts."""


@pytest.mark.parametrize("how", WAYS)
def test_blocked_for_too_long(
    start_worker: StartWorker, sender: Lavoro, migrated_url: str, ledger: Ledger, eventually: Eventually,
    tmp_path: Path, how: str,
) -> None:  # fmt: skip
    """Nothing runs twice before the end, all run again after it, and the culprit's stack is in the log."""
    worker = start_worker("-c", "4", url=migrated_url, environment={"TEST_BLOCKED_GRACE": "1.5"})
    neighbours = [sender.send_task("hold", [str(tmp_path / "gate")]) for _ in range(2)]
    eventually(lambda: all(ledger.starts(result.id) for result in neighbours), timeout=PATIENCE, why="they run")
    culprit = sender.send_task("block", [how, str(tmp_path / "once")])
    assert culprit.get(timeout=PATIENCE) == "went on"
    (tmp_path / "gate").touch()
    assert [result.get(timeout=PATIENCE) for result in neighbours] == ["held", "held"]
    everybody = [culprit, *neighbours]
    assert [ledger.starts(result.id) for result in everybody] == [2, 2, 2]
    crashes = dict(rows(sender, "select id::text, crashes from lavoro.finished"))
    assert [crashes[result.id] for result in everybody] == [WAYS[how], 0, 0]
    ((reason, count),) = rows(sender, "select reason, count(*) from lavoro.attempt group by 1")
    assert (reason, count) == ("its process was blocked for longer than 1.5 s (lavoro_blocked_grace)", 3)
    assert ("in block" in worker.log) == bool(WAYS[how])
    assert worker.stop() == 0
