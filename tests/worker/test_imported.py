"""What an import leaves in its thread: tasks see its context, and the worker warns of what they do not see."""

from __future__ import annotations

import pytest

from lavoro import Lavoro
from tests.worker.conftest import StartWorker

POOLS = [
    ("gevent", 8),
    pytest.param("threads", 8, marks=pytest.mark.slow),
    ("prefork", 1),
    pytest.param("solo", 1, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("pool", "slots"), POOLS)
def test_tasks_see_the_context_of_the_import(
    start_worker: StartWorker, sender: Lavoro, migrated_url: str, pool: str, slots: int
) -> None:
    worker = start_worker("-P", pool, "-c", str(slots), url=migrated_url, app="tests.worker.imported")
    alone = pool in ("prefork", "solo")
    results = [sender.send_task("see", (not alone,)) for _ in range(4)]
    seen = [result.get(timeout=60) for result in results]
    assert [values[:5] for values in seen] == [["shop", "first", 6, "shop", "shop"]] * 4
    assert {values[5] for values in seen} == {1 if alone else 0}
    assert {values[6] for values in seen} == {"ann" if alone else None}
    warnings = [line.partition("] ")[2] for line in worker.log.splitlines() if "WARNING" in line]
    words = [
        "tests.worker.imported.Caches.local is a threading.local, and token, user of it was set while",
        "the application context of shop was pushed while it was imported: the 8 tasks",
        "task see sets self.seen while it runs: the 8 tasks that run at once in this process share",
    ]
    assert [[word in line for word in words] for line in warnings] == (
        [] if alone else [[True, False, False], [False, True, False], [False, False, True]]
    )
    assert worker.stop() == 0
