"""Every pair and triple of actions on one running task meets in the database: one wins, the others see it."""

from __future__ import annotations

import itertools
import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from lavoro.protocol import outcome
from lavoro.protocol.message import Job
from lavoro.store import tasks
from lavoro.store.database import Database
from lavoro.store.tx import Tx
from lavoro.worker.child.finisher import Finisher
from lavoro.worker.child.in_flight import InFlight
from lavoro.worker.supervisor.duty import Hooks
from lavoro.worker.supervisor.upkeep import Terms, Upkeep
from tests.faults import canvases
from tests.faults.stage import Stage


class Actor:
    """What somebody does to the task that worker and job name, in a transaction of its own."""

    def __init__(self, stage: Stage, worker: int, job: Job, result: str) -> None:
        self.stage, self.worker, self.job, self.result = stage, worker, job, result

    def finish(self, tx: Tx) -> object:
        return self.stage.finish(self.worker, self.job, self.result, tx=tx)

    def retry(self, tx: Tx) -> object:
        return self.stage.retry(self.worker, self.job, tx=tx)

    def rescue(self, tx: Tx) -> object:
        return self.stage.rescue(self.worker, tx=tx)

    def revoke(self, tx: Tx) -> object:
        return self.stage.revoke(str(self.job.id), tx=tx)

    def progress(self, tx: Tx) -> object:
        return tasks.store_progress(tx, self.worker, self.job, state="HALF", meta=None)

    def expire(self, tx: Tx) -> object:
        return self.stage.rescue_expired(tx=tx)


ACTIONS = ("finish", "retry", "rescue", "revoke", "progress", "expire")
MEETINGS = [*itertools.permutations(ACTIONS, 2), *itertools.permutations(("finish", "retry", "rescue", "revoke"), 3)]
EXPIRED = "update lavoro.worker set expires_at = clock_timestamp() - interval '1 hour' where id = %s"


def meet(stage: Stage, names: tuple[str, ...]) -> None:
    """The first holds its transaction open while the others arrive, one after the other; then all go on."""
    worker = stage.worker()
    stage.send(detail={"expect": ["SUCCESS", "REVOKED"]})
    [job] = stage.claim(worker)
    actor = Actor(stage, worker, job, stage.end(job, stage.start(job, worker)))
    if "expire" in names:
        stage.connection.execute(EXPIRED, (worker,))
    connections = [stage.another() for _ in names]
    actions: list[Callable[[Tx], object]] = [getattr(actor, name) for name in names]
    threads = []
    with connections[0].connection.transaction():
        actions[0](connections[0])
        for action, tx in zip(actions[1:], connections[1:], strict=True):
            thread = threading.Thread(target=action, args=(tx,))
            thread.start()
            threads.append(thread)
            stage.until_it_waits_or(lambda thread=thread: not thread.is_alive(), count=len(threads))
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    for tx in connections:
        tx.connection.close()


@pytest.mark.parametrize("first", ACTIONS)
def test_actions_meet(stage: Stage, first: str) -> None:
    """Rows 22, 46, 53: no order of locks is a circle, and each task ends with one accepted outcome."""
    for names in MEETINGS:
        if names[0] == first:
            meet(stage, names)
            # A row that one meeting left to a worker that is gone, or to one whose retry lost, belongs to the next.
            stage.rescue_everybody()
            stage.run_to_the_end()
    assert stage.violations() == []


def test_rows_locked_in_opposite_order(stage: Stage) -> None:
    """Row 22: many are finished, revoked, and rescued in opposite orders: nobody waits for another in a circle."""
    worker = stage.worker()
    for number in range(40):
        stage.send(number, detail={"expect": ["SUCCESS", "REVOKED"]})
    jobs = stage.claim(worker)
    results = [(job, stage.end(job, stage.start(job, worker))) for job in jobs]
    ids = [job.id for job in jobs]
    holder, *others = [stage.another() for _ in range(4)]
    threads = [
        threading.Thread(target=tasks.revoke, args=(others[0], ids[::-1]), kwargs={"cancel": "{}"}),
        threading.Thread(target=stage.finish_all, args=(worker, results), kwargs={"tx": others[1]}),
        threading.Thread(target=stage.rescue, args=(worker,), kwargs={"tx": others[2]}),
    ]
    with holder.connection.transaction():  # they all arrive, and each has locked what comes before this one
        holder.connection.execute("select from lavoro.running where id = %s for update", (sorted(ids)[20],))
        for number, thread in enumerate(threads, 1):
            thread.start()
            stage.until_it_waits_or(lambda thread=thread: not thread.is_alive(), count=number)
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    for tx in (holder, *others):
        tx.connection.close()
    stage.run_to_the_end()
    assert stage.violations() == []


def lock_in_order(stage: Stage, ids: list[uuid.UUID], meanwhile: Callable[[], object]) -> None:
    """Lock a task; once ``meanwhile`` waits for it, lock the next: whoever holds that one already waits in a circle."""
    first, second = sorted(ids)
    holder, query = stage.another(), "select from lavoro.running where id = %s for update"
    with ThreadPoolExecutor() as threads:
        with holder.connection.transaction():
            holder.connection.execute(query, (first,))
            other = threads.submit(meanwhile)
            stage.until_somebody_waits()
            holder.connection.execute(query, (second,))
        other.result(60)
    holder.connection.close()


def test_a_batch_of_ends_and_returns_waits_in_no_circle(stage: Stage) -> None:
    """Row 22: the one with the lower id goes back, the other ends, and somebody locks both in the order of ids."""
    worker = stage.worker()
    for number in range(2):
        stage.send(number)
    returns, ends = sorted(stage.claim(worker), key=lambda job: job.id)
    in_flight = InFlight()
    in_flight.add([returns, ends])
    finisher = Finisher(Database(stage.url), in_flight, worker_id=worker)
    finisher.put(outcome.released(returns))
    finisher.put(outcome.succeeded(ends, stage.end(ends, stage.start(ends, worker)), 0.1))
    lock_in_order(stage, [returns.id, ends.id], finisher.step)
    finisher.close()
    stage.run_to_the_end()
    assert stage.violations() == []


def test_a_return_that_is_repeated_spares_what_was_claimed_anew(stage: Stage) -> None:
    """Row 11: its answer was lost, and the same worker has the task again, by the same fence: returns are uncounted."""
    worker, in_flight = stage.worker(), InFlight()
    stage.send()
    finisher = Finisher(Database(stage.url), in_flight, worker_id=worker)
    [job] = stage.claim(worker)
    in_flight.add([job])
    back = outcome.released(job)
    finisher.put(back)
    finisher.step()
    [again] = stage.claim(worker)
    in_flight.add([again])
    token = stage.start(again, worker)
    finisher.put(back)
    finisher.step()
    assert in_flight.jobs() == [again]
    finisher.put(outcome.succeeded(again, stage.end(again, token), 0.1))
    finisher.step()
    finisher.close()
    assert stage.violations() == []


def test_the_rescue_of_several_workers_waits_in_no_circle(stage: Stage) -> None:
    """Row 22: the first to be rescued holds the higher id, and somebody locks both in the order of ids."""
    ids = [uuid.UUID(int=2 << 64), uuid.UUID(int=1 << 64)]
    for id in ids:
        stage.send(id=id)
        stage.claim(stage.worker(lease=0.0))
    hooks = Hooks(lost=lambda ids: None, cancel=lambda cancels: None)
    node = Upkeep(Database(stage.url), hooks, Terms("node@test", 30.0, 3, {"attempt": None}))
    lock_in_order(stage, ids, node.step)
    node.close()
    assert stage.connection.execute("select count(*) from lavoro.running").fetchall() == [(0,)]
    stage.run_to_the_end()
    assert stage.violations() == []


def test_the_older_transaction_may_count_last(stage: Stage) -> None:
    """Row 22: a transaction has its number, the other member ends in a later one, and the first releases the body."""
    canvases.send_chord(stage)
    worker, older = stage.worker(), stage.another()
    (first, end), (second, later) = [(job, stage.end(job, stage.start(job, worker))) for job in stage.claim(worker)]
    with older.connection.transaction():
        older.connection.execute("select pg_current_xact_id()")
        stage.finish(worker, second, later)
        stage.finish(worker, first, end, tx=older)
    older.connection.close()
    stage.run_to_the_end()
    assert stage.violations() == []
