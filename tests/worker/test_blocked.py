"""A loop that is blocked for longer than it may be: its process ends, and only who has blocked it is to blame."""

from __future__ import annotations

from pathlib import Path

import pytest

from lavoro import Lavoro
from lavoro.result import AsyncResult
from lavoro.store.database import Database
from lavoro.worker.child.capacity import Capacity
from lavoro.worker.child.finisher import Finisher
from lavoro.worker.child.in_flight import InFlight
from lavoro.worker.child.offers import Offers
from lavoro.worker.child.pools.base import Pool
from lavoro.worker.child.prefetched import Prefetched
from tests.conftest import Eventually
from tests.store.walk import registered, sent_and_taken, stage_of
from tests.worker.conftest import PATIENCE, Ledger, StartWorker, Worker, rows

Result = AsyncResult[object]
CALLS = ("a call that lets other threads run", "a call that lets nothing run")
WAYS = {"a loop in Python": 1, **dict.fromkeys(CALLS, 1), "a stop by signal": 0}
"""How many crashes it counts."""


@pytest.mark.parametrize(
    "how", ["a loop in Python", "a stop by signal", *(pytest.param(how, marks=pytest.mark.slow) for how in CALLS)]
)
def test_blocked_for_too_long(
    start_worker: StartWorker, sender: Lavoro, migrated_url: str, ledger: Ledger, eventually: Eventually,
    tmp_path: Path, how: str,
) -> None:  # fmt: skip
    """Nothing runs twice before the end, all run again after it, and the culprit's stack is in the log."""
    worker = start_worker("-c", "4", url=migrated_url, environment={"TEST_BLOCKED_TIMEOUT": "1.5"})
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
    blamed = f"; it had begun block[{culprit.id}]" if WAYS[how] else ""
    assert (reason, count) == (f"its process was blocked for longer than 1.5 s (lavoro_blocked_timeout){blamed}", 3)
    assert ("in block" in worker.log) == bool(WAYS[how])
    assert worker.stop() == 0


def start_blocked(
    start_worker: StartWorker, sender: Lavoro, url: str, *burn: object
) -> tuple[Worker, Result, list[Result]]:
    """A worker whose first claim was of four tasks, of which the first to begin blocks the loop."""
    blocking = sender.send_task("burn", burn, priority=9)
    others = [sender.send_task("where") for _ in range(3)]
    worker = start_worker("-c", "4", "--grace", "600", url=url)
    worker.until("3 tasks behind a blocked loop released")
    return worker, blocking, others


@pytest.mark.parametrize("pause", [0.0, 0.05])
def test_what_has_not_begun_behind_a_blocked_loop_runs_elsewhere(
    start_worker: StartWorker, sender: Lavoro, migrated_url: str, ledger: Ledger, tmp_path: Path, pause: float
) -> None:
    """In Python or in C, as long as other threads may run; afterwards the first goes on as if nothing had been."""
    gate = tmp_path / "gate"
    worker, blocking, others = start_blocked(start_worker, sender, migrated_url, str(gate), pause)
    helper = start_worker("-c", "4", url=migrated_url)
    assert {other.get(timeout=PATIENCE) for other in others} == {child.pid for child in helper.children}
    assert helper.stop() == 0
    gate.touch()
    assert blocking.get(timeout=PATIENCE) == "burnt"
    assert sender.send_task("add", [1, 2]).get(timeout=PATIENCE) == 3
    assert worker.stop() == 0
    assert ledger.starts(blocking.id) == 1
    assert rows(sender, "select max(attempt) from lavoro.finished") == [(1,)]
    assert rows(sender, "select * from lavoro.attempt") == []


def test_what_went_back_behind_a_blocked_loop_may_come_again(
    start_worker: StartWorker, sender: Lavoro, migrated_url: str, tmp_path: Path, eventually: Eventually
) -> None:
    """To the same process, as soon as its loop turns; it has no fencing process then, and stops without tasks."""
    gate = tmp_path / "gate"
    worker, blocking, others = start_blocked(start_worker, sender, migrated_url, str(gate))
    assert rows(sender, "select count(*) from lavoro.waiting") == [(3,)]
    gate.touch()
    assert blocking.get(timeout=PATIENCE) == "burnt"
    assert {other.get(timeout=PATIENCE) for other in others} == {child.pid for child in worker.children}
    eventually(lambda: worker.processes == worker.children, timeout=PATIENCE, why="its fencing process is dismissed")
    assert worker.stop() == 0
    assert rows(sender, "select max(attempt) from lavoro.finished") == [(1,)]


def test_what_cannot_go_back_now_does_when_the_loop_turns(migrated_url: str) -> None:
    """The thread finds no connection: its job is the finisher's then, which is as stuck as the loop, for a while."""
    in_flight, database, nowhere = InFlight(), Database(migrated_url), Database("postgresql://127.0.0.1:1/nowhere")
    tx = database.open("lavoro-test")
    worker_id = registered(tx)
    job = sent_and_taken(tx, worker_id=worker_id)
    in_flight.add([job])
    finisher = Finisher(database, in_flight, worker_id=worker_id)
    pool = Pool(1, lambda job, slot, call: None)
    offers = Offers(in_flight, worker_id=worker_id, slots=1)
    pool.add([job])
    prefetched = Prefetched(Capacity(pool, in_flight, offers, prefetch=0), finisher, offers, nowhere)
    prefetched.release_blocked()
    assert (stage_of(tx, job.id), in_flight.count) == ("running", 1)
    finisher.step()
    finisher.close()
    assert (stage_of(tx, job.id), in_flight.count) == ("waiting", 0)
    tx.connection.close()
