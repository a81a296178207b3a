"""Upkeep: what a node owes the database, on one connection that no user code touches: leases, rescue, retention."""

from __future__ import annotations

import datetime as dt
import logging
import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

import psycopg
from psycopg.pq import TransactionStatus

from lavoro import exceptions, task_log
from lavoro.runtime.service import Service, jitter
from lavoro.store import clock, workers
from lavoro.store.database import OUTAGE, Database, Tx, first_line
from lavoro.store.schema import partitions
from lavoro.store.session import Session
from lavoro.store.workers import Cancel, Registration, Renewal, Rescue
from lavoro.text.plural import counted
from lavoro.worker.supervisor.server_clock import ServerClock

logger = logging.getLogger("lavoro.worker")

RENEWALS = 4
"""Renewals per lease: two may fail before we fence ourselves off, and others take over."""
IDLE, LONGEST = 8, 240.0
"""How many times longer a lease is while the children hold nothing, unless that is more than so many seconds."""
IDLE_RENEWAL = 3 / 8
"""The part of such a lease after which it is renewed: 500 idle nodes cost a database little, and retries have time."""
RETENTION_INTERVAL = 600.0
STRAYS_INTERVAL = 60.0
"""Idle nodes look more seldom, but for a minute after they have ended somebody's lease."""
STUCK, STUCK_LOOK = 1.0, 0.25
"""Seconds without a turn of the main loop after which leases are not renewed, or a quarter of the lease if that is
more; and seconds between two checks meanwhile. The loop turns four times a second."""
LOCK_TIMEOUT = "2s"
"""A row that somebody holds must not keep us from renewing leases; what had to wait is tried again."""
IDLE_TIMEOUT = "5s"
"""A node that is stopped in the middle of a rescue must not keep the others from it: the server ends its session."""


class Hooks(NamedTuple):
    """What the upkeep tells its node, in its own thread."""

    lost: Callable[[set[int]], None]
    """These workers' leases were ended by others."""
    cancel: Callable[[Sequence[Cancel]], None]
    """These tasks are to be ended: all there are, at each renewal."""
    turned: Callable[[], float] = time.monotonic
    """When (monotonic) the main loop last turned, which watches the children and buries them."""
    rescued: Callable[[], object] = lambda: None
    """A process was lost: tasks may have ended with it, and their handlers are to be called."""


class Upkeep(Service):
    """The node's own duties in the database, one round after the other.

    ``trusted_until`` is when, by our monotonic clock, the leases may have run out: counted from before the last
    renewal that was answered, or before one that shortens them, answered or not. All children have the same.
    """

    name = "upkeep"
    expected = OUTAGE

    def __init__(
        self,
        database: Database,
        hooks: Hooks,
        *,
        node: str,
        lease: float,
        max_crashes: int,
        retention: dict[str, float | None],
    ) -> None:
        super().__init__()
        self._node = node
        self._hooks = hooks
        self._lease, self._max_crashes, self._retention = lease, max_crashes, retention
        self.max_backoff = min(self.max_backoff, lease / RENEWALS)
        self._session = Session(database, "lavoro-upkeep", patience=max(5.0, lease / RENEWALS))
        self._failing: dict[str, str] = {}
        """The duties that failed the last time, with their errors."""
        self._renewed_on: Tx | None = None
        """The connection of the last renewal."""
        self._leases: set[int] = set()
        self._newcomers: deque[tuple[Registration, Callable[[int], None]]] = deque()
        self._lost: deque[Rescue] = deque()
        self._renewed = self._strays_from = -math.inf
        # Nodes that start together must not all begin with the partitions.
        self._retained = time.monotonic() - RETENTION_INTERVAL + jitter(0, 5)
        self._clock, self._clock_was_set = ServerClock(lease=lease), True  # perhaps while no worker ran
        self._expiry = self._foretold = math.inf
        """When, by our monotonic clock, the first lease of another node runs out: as we read, and as we were told."""
        self._renew_now = False
        self._long = max(lease, min(IDLE * lease, LONGEST))
        self._in_force = lease
        """The lease that was given last: the usual, or the long one; if it may have been shortened, the usual."""
        self._known: dt.datetime | None = None
        self._idle = self._perhaps_long = self._told_stuck = self._any_rescued = False
        self.trusted_until = -math.inf

    # From other threads

    def register(self, registration: Registration, registered: Callable[[int], None]) -> None:
        """Get a worker id for a child, as soon as the database allows; the answer comes in the loop's thread."""
        self._newcomers.append((registration, registered))
        self.wake()

    def rescue(self, lost: Rescue) -> None:
        """Have the tasks of a child that is gone rescued, as soon as the database allows."""
        self._lost.append(lost)
        self.wake()

    def renew(self) -> None:
        """Renew now: some task is to be cancelled, and a renewal tells which; or we may have missed something."""
        self._renew_now = True
        self.wake()

    def idle(self, idle: bool) -> None:
        """Say whether the children have held nothing for a while; as soon as they do, their lease gets short again."""
        self._idle = idle
        if not idle:
            self.wake()

    def foretell(self, seconds: float) -> None:
        """Some lease ends in so many seconds unless it is renewed, perhaps sooner than the last renewal told."""
        self._foretold = min(self._foretold, time.monotonic() + seconds + jitter(0, 0.5))
        self.wake()

    @property
    def well_until(self) -> float:
        """Until when (monotonic) it is no wonder that there was no renewal: for half of the lease."""
        return self.trusted_until - self._in_force / 2

    # The loop

    def step(self) -> float:
        """Do what is due, leases first: one that runs out harms the most."""
        renewal, stuck = None, self._stuck()
        with self._connection() as tx:
            if not stuck:
                renewal = self._renew(tx) if self._must_renew() else None
                self._do(tx, "to give leases", self._register_newcomers)
            self._do(tx, "to rescue tasks of our own", self._rescue_children)
            if time.monotonic() >= self._next_rescue():
                self._do(tx, "to rescue tasks of others", self._rescue_strangers)
            if renewal is not None:
                self._do(tx, "to rescue strays", self._rescue_strays)
                self._do(tx, "to correct times after the clock was set", self._set_right)
                self._do(tx, "to share the retention with other nodes", self._retain_if_due)
        if self._any_rescued:  # not before: what was done is committed now
            self._any_rescued = False
            self._hooks.rescued()
        pause = min(self._next_renewal(), self._next_rescue()) - time.monotonic()
        pause = min(pause, self.max_backoff) if self._newcomers or self._lost else pause
        return max(STUCK_LOOK if stuck else 0.001, pause)

    def _do(self, tx: Tx, what: str, duty: Callable[[Tx], object]) -> None:
        """Do one duty; an error is logged, and the next duty follows, unless the connection is lost."""
        try:
            duty(tx)
        except psycopg.Error as error:
            if tx.connection.pgconn.transaction_status != TransactionStatus.IDLE:
                raise
            text = first_line(error)
            if self._failing.get(what) != text:
                logger.error("upkeep failed %s, trying again: %s", what, text)
            self._failing[what] = text
        else:
            if self._failing.pop(what, None):
                logger.warning("upkeep was able %s again", what)

    def close(self) -> None:
        """Rescue what is left, then close the connection; the first try may find that a restart has cut it."""
        for _ in range(2):
            if self._lost:
                self._guarded_step()
        if self._lost:
            logger.error(
                "the tasks of %s could not be given back: others will, in %g s",
                counted(len(self._lost), "process", "processes"), self._in_force,
            )  # fmt: skip
        self._session.close()

    @contextmanager
    def _connection(self) -> Iterator[Tx]:
        """Lend the connection; whatever goes wrong on it, it is not used again."""
        try:
            yield self._session.open()
        except Exception:
            self._session.lose()
            self._renew_now = True
            raise

    # Leases

    def _stuck(self) -> bool:
        """Whether the main loop has not turned for so long that no lease is renewed until it does.

        The children are not watched then: their leases must run out, so that other nodes take over.
        """
        since = time.monotonic() - self._hooks.turned()
        stuck = since > max(STUCK, self._lease / RENEWALS)
        if stuck and not self._told_stuck:
            logger.error("the main loop has not turned for %.1f s: no lease is renewed until it does", since)
        elif self._told_stuck and not stuck:
            logger.warning("the main loop turns again")
            self._renew_now = True
        self._told_stuck = stuck
        return stuck

    def _next_renewal(self) -> float:
        return self._renewed + self._in_force * (IDLE_RENEWAL if self._in_force > self._lease else 1 / RENEWALS)

    def _must_renew(self) -> bool:
        """Also before a rescue: who seemed to be gone may have renewed since, and the next lease may end soon."""
        due = time.monotonic() >= min(self._next_renewal(), self._next_rescue())
        return self._renew_now or due or self._wanted() < self._in_force

    def _wanted(self) -> float:
        """Which lease to ask for; a newcomer begins with the usual one, and all children have the same."""
        return self._long if self._idle and not self._newcomers else self._lease

    def _renew(self, tx: Tx) -> Renewal:
        # Before: what is asked for, or told, meanwhile must not be lost.
        sent, self._renew_now, self._foretold = time.monotonic(), False, math.inf
        lease = self._wanted()
        if lease < self._in_force:  # the answer may be lost: trust the long one no more
            self.trusted_until, self._in_force = min(self.trusted_until, sent + lease), lease
        shortening, self._perhaps_long = self._perhaps_long, self._perhaps_long or lease > self._lease
        leases = self._leases - {lost.worker_id for lost in list(self._lost)}  # a dead child's lease must run out
        # A lease that ran out long ago may still be watched, for up to half of the longest lease.
        ever = self._strays_due() or self._clock.known_for < self._long
        renewal = workers.renew(
            tx, list(leases), back=workers.EVER if ever else 2 * self._in_force, factor=lease / self._lease,
            known=self._known, shortening=shortening and lease == self._lease,
        )  # fmt: skip
        self._look_at_the_clock(tx, renewal.now, sent)
        self._renewed, self.trusted_until, self._in_force = sent, sent + lease, lease
        self._known, self._perhaps_long = renewal.seen, lease > self._lease
        # To come, it is seen by other nodes too.
        self._expiry = sent + renewal.expiry + (jitter(0, 0.5) if renewal.expiry > 0 else 0)
        lost = leases - renewal.live
        self._leases -= lost
        if lost:
            self._hooks.lost(lost)
        self._hooks.cancel(renewal.cancels)
        return renewal

    def _look_at_the_clock(self, tx: Tx, now: dt.datetime, sent: float) -> None:
        # After an outage all leases look expired, and their own nodes know better which tasks ran. A reconnect sooner
        # than all but one of RENEWALS is no outage: the other nodes could renew, and some servers end idle sessions.
        outage = tx is not self._renewed_on and sent - self._renewed > (1 - 1 / RENEWALS) * self._lease
        self._renewed_on = tx
        if step := self._clock.read(now, sent=sent, answered=time.monotonic(), outage=outage):
            logger.warning("the clock of the database was set %s by %.1f s", "ahead" if step > 0 else "back", abs(step))
            self._clock_was_set, self._strays_from = True, -math.inf

    def _register_newcomers(self, tx: Tx) -> None:
        """Give leases to new children, once a renewal has gone well: one that cannot be renewed is worth nothing.

        Who has it would claim tasks and be ended with it, before they are done, and so would its successor. Nor while
        the others have the long lease: what is trusted is the same for all.
        """
        while self._newcomers and self._in_force <= self._lease:
            registration, registered = self._newcomers[0]
            worker_id = workers.register(tx, registration)
            self._leases.add(worker_id)
            self._newcomers.popleft()
            registered(worker_id)

    # Rescue

    def _rescue_children(self, tx: Tx) -> None:
        while self._lost:
            try:
                self._rescue(tx, self._lost[0])
            except BaseException:
                self._lost.rotate(-1)  # the next time another one comes first
                raise
            self._leases.discard(self._lost.popleft().worker_id)

    def _next_rescue(self) -> float:
        return min(self._expiry, self._foretold)

    def _rescue_strangers(self, tx: Tx) -> None:
        """Any node may do this for any other: a lease is ended by one statement, by one of them.

        How long it has not moved is counted by the server's clock, as far back as that is known to agree with ours.
        """
        try:
            while self._rescue_stranger(tx):
                pass
        finally:  # a renewal will tell; another node may be at it now
            self._expiry = time.monotonic() + self._lease / RENEWALS

    def _strays_due(self) -> bool:
        return time.monotonic() >= self._strays_from

    def _rescue_strays(self, tx: Tx) -> None:
        if self._strays_due():
            ever = self._strays_from == -math.inf  # the first look finds what nobody was there to see
            self._strays_from = time.monotonic() + STRAYS_INTERVAL * (IDLE if self._in_force > self._lease else 1)
            for worker_id in workers.strays(tx, ever=ever):
                self._rescue(tx, Rescue(worker_id, "its worker had no lease any more", [], blameless=True))

    def _rescue_stranger(self, tx: Tx) -> bool:
        """End a lease that ran out, with all that hangs on it; tell whether there was one."""
        with self._impatient(tx):
            found = workers.expire(
                tx, since=self._clock.true_since, latest=self._clock.latest, answers_since=self._clock.answers_since
            )
            if found is not None:
                worker_id, name = found
                self._rescue(tx, Rescue(worker_id, f"worker {name} was lost: its lease ran out"))
                # A claim that was under way may come after this.
                self._strays_from = min(self._strays_from, time.monotonic() + STRAYS_INTERVAL)
        return found is not None

    def _rescue(self, tx: Tx, lost: Rescue) -> None:
        with self._impatient(tx):
            rescued = workers.rescue(tx, lost, max_crashes=self._max_crashes)
        self._any_rescued = self._any_rescued or not lost.orderly
        for part in rescued:
            back = counted(part.waiting, "task waits again", "tasks wait again")
            about = part.reason
            if lost.told is not None:
                about = lost.told + (about.removeprefix(lost.reason).removeprefix("; it") or " had begun no task")
            logger.warning("%s: %s, %s", about, back, counted(len(part.ended), "has ended", "have ended"))
            for name, id, error, message in part.ended:
                _log_end(name, id, getattr(exceptions, error)(message))

    @contextmanager
    def _impatient(self, tx: Tx) -> Iterator[None]:
        with tx.connection.transaction():
            tx.connection.execute(
                "select set_config('lock_timeout', %s, true),"
                " set_config('idle_in_transaction_session_timeout', %s, true)",
                (LOCK_TIMEOUT, IDLE_TIMEOUT),
            )
            yield

    # The clock

    def _set_right(self, tx: Tx) -> None:
        """After the server's clock was set back, correct the times of leases, and of tasks that were due at once.

        One node does it. Its duty is short, so that it delays no node that sees the clock being set once more.
        """
        if not self._clock_was_set:
            return
        if workers.take_duty(tx, "clock", holder=self._node, seconds=self._lease / RENEWALS / 2) is None:
            self._clock_was_set = False
            return
        clock.pull_leases(tx)
        pulled, seconds = clock.pull_tasks(tx)
        self._clock_was_set = False
        if pulled:
            logger.warning(
                "%s up to %.1f s in the future, for the clock of the database was set back: due now",
                counted(pulled, "task that was due at once lay", "tasks that were due at once lay"), seconds,
            )  # fmt: skip

    # Retention

    def _retain_if_due(self, tx: Tx) -> None:
        if time.monotonic() - self._retained < RETENTION_INTERVAL:
            return
        self._retained = time.monotonic()
        if workers.take_duty(tx, "retention", holder=self._node, seconds=RETENTION_INTERVAL - 60) is None:
            return  # another node has done it
        for table, kept in self._retention.items():
            if kept is not None:
                self._do(tx, f"to make and drop partitions of {table}", partial(self._retain, table=table, kept=kept))
        self._do(tx, "to forget old workers and revokes", partial(workers.forget_old, kept=self._retention["attempt"]))

    def _retain(self, tx: Tx, *, table: str, kept: float) -> None:
        made = partitions.make_ahead(tx, {table: kept})
        dropped = partitions.drop_behind(tx, {table: kept})
        if made or dropped:
            logger.info("retention: made %s, dropped %s", made, dropped)


def _log_end(name: str, id: str, error: Exception) -> None:
    """Log the end of a task in the words that its own process would have used."""
    if isinstance(error, exceptions.TaskRevokedError):
        task_log.outcomes.info("Task %s[%s] revoked while it ran", name, id, extra={"task_name": name, "task_id": id})
    else:
        task_log.tell_lost(name, id, error)
