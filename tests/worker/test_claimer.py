"""The claimer's pauses: it sleeps as long as it may, and never past the time at which a task it knows of is due."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from itertools import pairwise

import psycopg
import pytest

from lavoro.protocol.ids import uuid7
from lavoro.protocol.message import Job, Message
from lavoro.store import session, tasks
from lavoro.store.database import Database
from lavoro.store.errors import OUTAGE
from lavoro.store.mailbox import Mailbox
from lavoro.store.offers import channel
from lavoro.store.tasks import Lane
from lavoro.store.tx import Tx
from lavoro.worker.child import claimer, lanes, pace
from lavoro.worker.child.capacity import Capacity
from lavoro.worker.child.claimer import ADOPTION, BUSY, SELDOM, Claimer
from lavoro.worker.child.in_flight import InFlight
from lavoro.worker.child.lanes import LaneScanner
from lavoro.worker.child.offers import MOST, OPEN, SHARE, Offers
from lavoro.worker.child.pools.threads import ThreadPool
from lavoro.worker.child.sleep import SLEEPING, Sleep
from tests.conftest import Eventually
from tests.store.walk import message, registered, rows, take, value
from tests.worker.conftest import PATIENCE

POLL, SLOTS = 0.5, 100
LATER = 6.0
"""Seconds: sooner than a sleep ends, and later than a slow machine needs for a test's first steps."""


class Clock:
    """The true clock, which may also skip a time."""

    def __init__(self) -> None:
        self._skipped = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self._skipped

    def skip(self, seconds: float) -> None:
        self._skipped += seconds


class Hearing(Offers):
    """Offers that note the notifications of assigned tasks."""

    def __init__(self, in_flight: InFlight, *, worker_id: int, clock: Clock) -> None:
        super().__init__(in_flight, worker_id=worker_id, slots=SLOTS, clock=clock)
        self.heard: list[str] = []

    def tell(self, payload: str) -> None:
        """Note it."""
        self.heard.append(payload)
        super().tell(payload)


class Node:
    """A claimer whose steps the test takes itself, and whose supervisor listens as soon as it is told to."""

    def __init__(self, database: Database, worker_id: int) -> None:
        self.asked: list[bool] = []
        self.clock = Clock()
        self.pool, self.in_flight = ThreadPool(SLOTS, lambda job, slot, call: None), InFlight()
        self.offers = Hearing(self.in_flight, worker_id=worker_id, clock=self.clock)
        self.worker_id = worker_id
        self.claimer = Claimer(
            database, self.offers,
            capacity=Capacity(self.pool, self.in_flight, self.offers, prefetch=500, clock=self.clock),
            scanner=LaneScanner(["celery", "other"], self.clock),
            sleep=Sleep(self.asked.append, poll_interval=POLL, clock=self.clock),
        )  # fmt: skip

    def step(self) -> float | None:
        """Take a step that claims, be it time or not."""
        self.claimer.wake()
        return self.claimer.step()

    def finds(self, job: Job) -> bool:
        """Take a step, be it time for a claim or not; tell whether a task of ours is known since then."""
        self.claimer.step()
        return self.in_flight.find(job.id) is not None

    def hear(self) -> None:
        """Pause and take steps, as the loop does, until one has taken in a notification."""
        before = len(self.offers.heard)
        while len(self.offers.heard) == before:
            self.claimer.pause(PATIENCE)
            self.claimer.step()

    def sleep(self) -> None:
        """Take the first step, and give the supervisor's answer to the claimer, which asks to sleep."""
        self.step()
        assert self.asked == [True]
        self.claimer.confirm_sleep(listening=True)

    def settle(self) -> float:
        """Take steps, each on its time, until a pause is longer than a poll interval; return that pause."""
        while (pause := self.step()) is not None and pause <= POLL:
            self.clock.skip(pause)
        assert pause is not None
        return pause


@pytest.fixture
def node(migrated_url: str, tx: Tx, monkeypatch: pytest.MonkeyPatch) -> Iterator[Node]:
    monkeypatch.setattr(session, "IDLE", math.inf)  # else a slow machine finds a cut connection before it is used
    node = Node(Database(migrated_url), registered(tx))
    yield node
    node.claimer.close()


def running(tx: Tx) -> int:
    return int(value(tx, "select count(*) from lavoro.running"))


def test_it_sleeps_while_nothing_waits(node: Node) -> None:
    node.sleep()
    assert node.settle() == pytest.approx(POLL * SLEEPING, rel=0.01)


def test_it_wakes_up_when_nobody_listens(node: Node) -> None:
    node.sleep()
    node.settle()
    node.claimer.confirm_sleep(listening=False)
    assert [node.step() for _ in range(6)][-1] == pytest.approx(POLL, rel=0.01)


def test_a_task_for_later_is_met_on_its_time(node: Node, tx: Tx) -> None:
    tasks.insert(tx, [message(countdown=LATER)])
    node.sleep()
    assert POLL < node.settle() <= LATER


def test_a_task_for_later_is_met_on_its_time_after_one_that_was_due(node: Node, tx: Tx) -> None:
    """The look that found the first could not see the second behind it."""
    tasks.insert(tx, [message(countdown=LATER), message()])
    node.sleep()
    assert POLL < node.settle() <= LATER
    assert running(tx) == 1


@pytest.mark.parametrize("sent", [message(priority=5), message(queue="other"), message(countdown=0.0)])
def test_what_comes_before_the_supervisor_listens_is_met(node: Node, tx: Tx, sent: Message) -> None:
    """Nobody slept yet, so nobody is told of it: not even of a queue or priority that had no tasks before."""
    node.step()
    tasks.insert(tx, [sent])
    node.claimer.confirm_sleep(listening=True)
    assert node.settle() > POLL
    assert running(tx) == 1


def test_what_comes_for_later_before_the_supervisor_listens_is_met_on_its_time(node: Node, tx: Tx) -> None:
    node.step()
    tasks.insert(tx, [message(countdown=LATER)])
    node.claimer.confirm_sleep(listening=True)
    assert POLL < node.settle() <= LATER


def test_what_commits_late_is_met_although_its_lane_is_known(node: Node, tx: Tx) -> None:
    """It is below the bound of the last claim then."""
    late = message(priority=1)
    tasks.insert(tx, [message(priority=1)])
    node.sleep()
    node.settle()
    tasks.insert(tx, [message(priority=1)])
    assert node.step() is not None
    assert running(tx) == 2
    tasks.insert(tx, [late])
    rows(tx, "update lavoro.waiting set due_at = due_at - interval '5 seconds' returning 1")
    node.claimer.notified("due:1:celery")
    assert node.settle() > POLL
    assert running(tx) == 3


def test_a_look_that_failed_is_made_again(node: Node, tx: Tx, migrated_url: str) -> None:
    node.sleep()
    node.settle()
    tasks.insert(tx, [message()])
    node.claimer.notified("back:celery")
    cut(node, migrated_url)
    node.step()  # looks
    node.step()  # and claims
    assert running(tx) == 1


def test_a_task_that_somebody_holds_hides_others_for_a_poll_interval_at_most(node: Node, tx: Tx) -> None:
    """And does not keep the claimer busy."""
    tasks.insert(tx, [message(), message(countdown=LATER)])
    pauses = []
    with tx.connection.transaction():
        rows(tx, "select 1 from lavoro.waiting for update")
        node.sleep()
        for _ in range(8):
            pauses.append(node.step() or 0)
            node.clock.skip(pauses[-1])
    assert sum(pause < 0.005 for pause in pauses) <= 3
    assert max(pauses) == pytest.approx(POLL, rel=0.01)


def test_a_look_that_is_due_is_not_put_off_until_a_task_is(node: Node, tx: Tx, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "CHEAP", 0.0)  # so that the next look has to wait a little
    tasks.insert(tx, [message(countdown=LATER)])
    node.sleep()
    node.settle()
    tasks.insert(tx, [message(queue="other")])
    node.claimer.notified("due:0:other")
    node.settle()
    assert running(tx) == 1


def test_many_tasks_at_a_time_are_no_reason_to_sleep(node: Node, tx: Tx) -> None:
    tasks.insert(tx, [message() for _ in range(BUSY)])
    node.step()
    assert running(tx) == BUSY
    assert node.asked == []


def overlap(node: Node, tx: Tx) -> None:
    """Have lists come one after the other, each while the tasks of the one before are in flight."""
    tasks.insert(tx, [message()])  # so that the lane is known
    node.sleep()
    node.settle()
    node.in_flight.release(node.pool.take_back())
    for _ in range(pace.ENOUGH + 1):
        tasks.insert(tx, [message() for _ in range(pace.SEVERAL)])
        node.step()
        node.claimer.notified("due:0:celery")
        node.in_flight.release(node.pool.take_back())


def test_lists_that_overlap_are_claimed_at_intervals_without_notifications(node: Node, tx: Tx) -> None:
    overlap(node, tx)
    tasks.insert(tx, [message() for _ in range(pace.SEVERAL)])
    assert node.step() == pytest.approx(pace.INTERVAL, rel=0.5)
    assert node.asked == [True, False], "calls need not notify"


def test_the_claimer_sleeps_again_when_no_lists_come(node: Node, tx: Tx) -> None:
    overlap(node, tx)
    tasks.insert(tx, [message() for _ in range(pace.SEVERAL)])
    pauses = [node.step() or 0 for _ in range(pace.ENOUGH + 1)]
    assert max(pauses) < 2 * pace.INTERVAL
    assert node.asked == [True, False, True]
    node.claimer.confirm_sleep(listening=True)
    assert node.settle() > POLL


# What calls hand over


@pytest.fixture
def warm(node: Node, tx: Tx, migrated_url: str) -> Iterator[Node]:
    """A sleeping node that has run a task lately, and whose supervisor holds the lock for it."""
    rows(tx, "update lavoro.worker set queues = array['celery', 'other'] returning 1")
    node.sleep()
    tasks.insert(tx, [message()])
    node.settle()
    with psycopg.connect(migrated_url, autocommit=True) as supervisor:
        supervisor.execute("select pg_advisory_lock_shared(hashtextextended('lavoro_queue:celery', 0))")
        yield node


def offered(tx: Tx) -> int:
    return int(value(tx, "select count(*) from lavoro.offer"))


def assigned_task(tx: Tx, node: Node) -> Message:
    sent = message()
    before = offered(tx)
    tasks.insert(tx, [sent])
    assert offered(tx) == before - 1
    return sent


def notify(tx: Tx, node: Node, payload: str) -> None:
    rows(tx, "select pg_notify(%s, %s)", channel("lavoro", node.worker_id), payload)


def test_it_offers_slots_once_it_has_had_a_task(warm: Node, tx: Tx) -> None:
    assert offered(tx) == warm.offers.open == MOST
    assert value(tx, "select max(until - clock_timestamp()) <= '5 s' from lavoro.offer")


def test_what_is_handed_over_is_run_without_a_claim(warm: Node, tx: Tx) -> None:
    ran = warm.pool.outstanding
    assigned_task(tx, warm)
    tasks.insert(tx, [message(priority=3)], look=False)  # a claim would find it
    warm.hear()
    assert warm.pool.outstanding == ran + 1
    assert value(tx, "select count(*) from lavoro.waiting") == 1


def test_what_is_told_twice_is_run_once(warm: Node, tx: Tx) -> None:
    ran = warm.pool.outstanding
    sent = assigned_task(tx, warm)
    warm.hear()
    notify(tx, warm, str(sent.id))
    warm.hear()
    assert warm.pool.outstanding == ran + 1


def test_nobody_elses_task_is_run_because_somebody_says_so(warm: Node, tx: Tx) -> None:
    ran = warm.pool.outstanding
    other = assigned_task(tx, warm)
    rows(tx, "update lavoro.running set worker_id = 999 where id = %s returning 1", other.id)
    warm.hear()
    assert warm.pool.outstanding == ran


def test_offers_are_made_anew_when_half_of_them_are_taken(warm: Node, tx: Tx) -> None:
    for left in (7, 6, 5, MOST):
        assigned_task(tx, warm)
        warm.hear()
        assert warm.offers.open == left


def test_what_was_handed_over_untold_is_found_when_the_offers_are_over(
    warm: Node, tx: Tx, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = warm.pool.outstanding
    assigned_task(tx, warm)
    warm.clock.skip(OPEN)
    warm.claimer.step()
    assert warm.pool.outstanding == ran + 1
    assert offered(tx) == warm.offers.open == 0


def test_what_was_handed_over_is_found_by_a_new_connection(warm: Node, tx: Tx, eventually: Eventually) -> None:
    ran = warm.pool.outstanding
    assigned_task(tx, warm)
    rows(tx, "select pg_terminate_backend(pid, 60000) from pg_stat_activity where application_name = 'lavoro-claimer'")

    def found() -> bool:
        warm.claimer.pause(POLL)
        warm.claimer.step()
        return warm.pool.outstanding == ran + 1

    eventually(found, timeout=PATIENCE, why="it is found")
    assert offered(tx) == 0


def test_what_anybody_may_say_makes_no_offers(warm: Node, tx: Tx) -> None:
    for payload in (*(str(uuid7()) for _ in range(20)), "", "no id", "'; --"):
        notify(tx, warm, payload)
        warm.hear()
    assert offered(tx) == MOST


def test_a_call_that_is_slow_to_commit_does_not_keep_it_from_claiming(
    warm: Node, tx: Tx, migrated_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = warm.pool.outstanding
    monkeypatch.setattr("lavoro.worker.child.offers.AGAIN", 0.0)
    with psycopg.connect(migrated_url) as slow:
        slow.execute("select lavoro.assign_task(%s, 'celery', 0::int2, 'a.b', '[]', null, null)", (uuid7(),))
        warm.clock.skip(OPEN)
        tasks.insert(tx, [message(countdown=0.0)], always_wake=True)
        warm.step()
        assert warm.offers.made
        assert warm.pool.outstanding == ran + 1
    warm.step()
    assert warm.pool.outstanding == ran + 2


def test_a_wake_up_before_the_mailbox_is_open_is_not_lost(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slots become free during the step that opens it: nothing was rung then."""
    opened: list[bool] = []
    open_mailbox = Mailbox.open

    def wake_first(self: Mailbox, tx: Tx) -> bool:
        node.claimer.wake()
        opened.append(open_mailbox(self, tx))
        return True

    monkeypatch.setattr(Mailbox, "open", wake_first)
    node.sleep()
    while not opened:
        node.step()
    began = time.monotonic()
    node.claimer.pause(PATIENCE)
    assert time.monotonic() - began < PATIENCE / 2


def test_at_its_end_it_withdraws_its_offers_and_takes_what_was_assigned_task(warm: Node, tx: Tx) -> None:
    ran = warm.pool.outstanding
    assigned_task(tx, warm)
    warm.claimer.close()
    assert offered(tx) == 0
    assert warm.pool.outstanding == ran + 1


def test_behind_a_blocked_loop_what_was_handed_over_goes_back(warm: Node, tx: Tx) -> None:
    sent = assigned_task(tx, warm)
    held = running(tx) - 1
    assert [job.id for job in warm.offers.release_all(tx)] == [sent.id]
    assert offered(tx) == 0
    assert rows(tx, "select id, attempt from lavoro.waiting") == [(sent.id, 0)]
    warm.hear()  # later
    assert running(tx) == held


def test_what_is_just_being_claimed_does_not_go_back(warm: Node, tx: Tx) -> None:
    assigned_task(tx, warm)
    with warm.offers.alone():
        assert warm.offers.release_all(tx) == []
    assert offered(tx) == 0


@pytest.mark.parametrize("slots", [SHARE - 1, SHARE])
def test_with_few_slots_it_offers_none(node: Node, tx: Tx, slots: int) -> None:
    offers = Offers(InFlight(), worker_id=node.worker_id, slots=slots)
    tasks.insert(tx, [message()])
    offers.saw(take(tx, worker_id=node.worker_id))
    offers.renew(tx, free=SLOTS)
    assert offers.open == offered(tx) == slots // SHARE


# What was given up


def test_a_claim_that_was_given_up_takes_no_task_away(
    tx: Tx, migrated_url: str, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits for a lock for longer than it is waited for; the next one runs what it would have taken."""
    monkeypatch.setattr(claimer, "ANSWER", 0.3)
    node, given_up = Node(Database(migrated_url), registered(tx)), list[Exception]()

    def steps_given_up() -> int:
        """Take a step; return how many had no answer until now. The first may only scan for lanes."""
        try:
            node.step()
        except OUTAGE as error:  # on a slow machine of any statement
            given_up.extend([error] if "no answer" in str(error) else [])
        return len(given_up)

    tasks.insert(tx, [message()])
    with psycopg.connect(migrated_url) as holder:
        holder.execute("lock table lavoro.waiting in share mode")
        eventually(lambda: steps_given_up() >= 3, timeout=PATIENCE, why="three claims were given up")
    eventually(lambda: steps_given_up() and node.pool.outstanding, timeout=PATIENCE, why="the next one runs it")
    assert (running(tx), node.pool.outstanding) == (1, 1)
    node.claimer.close()


def cut(node: Node, url: str) -> None:
    """Have the claimer lose its connection during a statement, which waits for a lock."""
    ended = (
        "select pg_terminate_backend(pid, 60000) from pg_stat_activity"
        " where application_name = 'lavoro-claimer' and wait_event_type = 'Lock'"
    )

    def end(connection: psycopg.Connection[object]) -> None:
        while not connection.execute(ended.encode()).fetchall():
            pass

    with psycopg.connect(url) as locking, psycopg.connect(url, autocommit=True) as ending:
        locking.execute("lock table lavoro.waiting in access exclusive mode")
        thread = threading.Thread(target=end, args=(ending,))
        thread.start()
        with pytest.raises(psycopg.OperationalError):
            node.step()
        thread.join()


@pytest.fixture
def late(node: Node, tx: Tx, migrated_url: str) -> Job:
    """A task of a claim that was given up and commits late: its session could not be ended, as through a pooler."""
    cut(node, migrated_url)
    node.step()
    tasks.insert(tx, [message()])
    [job] = tasks.claim(tx, node.worker_id, lanes=[Lane("celery", 0, lanes.EVERYTHING)], limit=1)
    assert not node.finds(job)
    node.clock.skip(ADOPTION)
    return job


def test_a_claim_that_is_done_late_is_found_while_idle(node: Node, late: Job) -> None:
    assert node.finds(late)


def test_a_claim_that_is_done_late_is_found_while_there_is_always_more_to_claim(
    node: Node, late: Job, tx: Tx, eventually: Eventually
) -> None:
    node.pool.slots = 1
    tasks.insert(tx, [message() for _ in range(2000)])

    def found_between_others() -> bool:
        found = node.finds(late)
        node.in_flight.release(node.pool.take_back())  # the slot has done what it had
        return found

    eventually(found_between_others, timeout=PATIENCE, why="it is found")
    assert value(tx, "select count(*) from lavoro.waiting") > 0


def test_a_claim_that_is_done_late_is_found_while_all_slots_are_busy(
    node: Node, late: Job, tx: Tx, eventually: Eventually
) -> None:
    """It goes back as all that waits for a slot in vain."""
    node.pool.slots = 0
    tasks.insert(tx, [message()])
    eventually(lambda: node.finds(late), timeout=PATIENCE, why="it is found")
    assert value(tx, "select count(*) from lavoro.waiting") == 1


def test_looks_for_late_claims_get_rare_and_none_is_made_without_need(
    node: Node, tx: Tx, migrated_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each reads all of `running`; half a thousand idle nodes must cost a database little."""
    looks: list[float] = []

    def found(tx: Tx) -> list[Job]:
        looks.append(node.clock())
        return []

    monkeypatch.setattr(node.offers, "found", found)
    tasks.insert(tx, [message()])
    node.sleep()
    node.settle()
    assert looks == []
    node.clock.skip(OPEN)
    node.claimer.step()  # withdraws the offers, and looks for tasks that were assigned
    looks.clear()
    cut(node, migrated_url)
    while len(looks) < 6:
        node.clock.skip(node.claimer.step() or 0)
    pauses = [later - sooner for sooner, later in pairwise(looks)]
    assert all(pause >= least for pause, least in zip(pauses, (10, 20, 40, 80, SELDOM), strict=True))
