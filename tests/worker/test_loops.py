"""Event loops: asyncio works in the tasks of every pool as it works in a thread, however many run at once."""

from __future__ import annotations

import pytest

from lavoro import Lavoro
from lavoro.exceptions import SoftTimeLimitExceeded
from tests.worker.conftest import StartWorker

POOLS = [
    ("gevent", 100),
    pytest.param("threads", 8, marks=pytest.mark.slow),
    ("prefork", 1),
    pytest.param("solo", 1, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("pool", "slots"), POOLS)
def test_loops_of_tasks_do_not_see_each_other(
    start_worker: StartWorker, sender: Lavoro, migrated_url: str, pool: str, slots: int
) -> None:
    worker = start_worker("-P", pool, "-c", str(slots), url=migrated_url, app="tests.worker.loops")
    count, few = (100, 8) if pool == "gevent" else (4, 2)
    through = [sender.send_task("through", (number,)) for number in range(count)]
    kept = [sender.send_task("runner", (number,)) for number in range(few)]
    spawned = [sender.send_task("spawn", (number,)) for number in range(few)]
    without = [sender.send_task("no loop") for _ in range(count)]
    nested, cut_short = sender.send_task("nested"), sender.send_task("cut short")
    assert [result.get(timeout=60) for result in through] == [[number, number, [0, 1, 2]] for number in range(count)]
    assert [result.get(timeout=60) for result in kept] == [[number, number, [0, 1, 2]] for number in range(few)]
    assert [result.get(timeout=60) for result in spawned] == [f"in {number} {number}" for number in range(few)]
    assert all(result.get(timeout=60) for result in without)
    assert nested.get(timeout=60) == "asyncio.run() cannot be called from a running event loop"
    with pytest.raises(SoftTimeLimitExceeded):
        cut_short.get(timeout=60)
    assert all(sender.send_task("no loop").get(timeout=60) for _ in range(3))
    assert not [line for line in worker.log.splitlines() if "ERROR" in line and "cut short" not in line]
    assert worker.stop() == 0
