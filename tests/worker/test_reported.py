"""Error reports: the guide's receivers send one event for each failure, with its task and the trace of its caller."""

from __future__ import annotations

import json

import pytest

from lavoro import Lavoro
from tests.worker.conftest import Ledger, StartWorker


@pytest.mark.parametrize("pool", ["gevent", "threads"])
def test_failures_are_reported(
    start_worker: StartWorker, sender: Lavoro, migrated_url: str, ledger: Ledger, pool: str
) -> None:
    worker = start_worker("-P", pool, "-c", "4", url=migrated_url, app="tests.worker.reported")
    trace, *ids = sender.send_task("send").get(timeout=60)
    for id in ids:
        with pytest.raises(ValueError, match=r"^[12]$"):
            sender.AsyncResult(id).get(timeout=60)
    with pytest.raises(KeyError):
        sender.send_task("expected").get(timeout=60)
    assert worker.stop() == 0
    events = ledger.lines("event")
    told = sorted(json.loads(" ".join(words)) for _, _, *words in events)
    assert told == [["ValueError", str(number), "break", id, number] for number, id in enumerate(ids, 1)]
    assert {words[1] for words in events} == {trace}
