"""The supervisor: starts children, keeps their leases, watches their limits, stops everything in order."""

from __future__ import annotations

import dataclasses
import logging
import os
import re
import selectors
import signal
import socket
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import lavoro
from lavoro.errors import ImproperlyConfigured, OperationalError
from lavoro.store import embedded, queues
from lavoro.store import migrate as migrations
from lavoro.store.database import Database
from lavoro.store.listener import Listener
from lavoro.store.workers import Registration, Rescue
from lavoro.worker.pipe import Message
from lavoro.worker.plan import Plan, Wishes
from lavoro.worker.process import ChildProcess, Ending
from lavoro.worker.upkeep import Cancel, Hooks, Upkeep
from lavoro.worker.watch import Watch

logger = logging.getLogger("lavoro.worker")

TICK = 0.25
"""Seconds between looks at the boards; a hard limit that passes earlier has its own."""
MARGIN = 0.2
"""The part of a lease before whose end we fence ourselves off: what we run then must be dead when others take over."""
LEAVING = 5.0
"""Seconds a child gets beyond the grace, to store its last outcomes; one whose loop is blocked gets no more."""
COLD = 2.0
"""The same when it is to stop now."""
REPLACEMENT_PATIENCE = 5.0
"""Seconds that the successor of a worn child waits for its end, so that the two together run no more than one may."""
DATABASE_PAUSE = 2.0
HANG_UP = 5.0
"""Seconds for which a child may live without its pipe."""
FAILED_STARTS = 10
"""Children in a row that may end before they are ready, until the worker gives up."""

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
_WAKE = re.compile(r"[+~]-?\d+:(?P<lane>.*)|!(?P<back>.*)", re.DOTALL)


class Services(NamedTuple):
    """What the supervisor has besides its children, once the first of them has told the plan."""

    database: Database
    upkeep: Upkeep
    listener: Listener


class Supervisor:
    """A small process that never imports the application and is never patched.

    Its children import the application; the first tells what the settings say. Everything that must go on while user
    code blocks is done here: leases, rescue, limits, listening, stopping. Children are the main thread's alone; the
    threads of upkeep and listener ``post`` what they have for it.
    """

    def __init__(
        self, wishes: Wishes, *, parent_descriptor: int | None = None, ready: Callable[[str], object] | None = None
    ) -> None:
        self.wishes = wishes
        self.hostname = hostname(wishes.hostname)
        self.exitcode = 0
        self._plan: Plan | None = None
        self._services: Services | None = None
        self._children: list[ChildProcess] = []
        self._watches: dict[ChildProcess, Watch] = {}
        self._ready: tuple[ChildProcess, ...] = ()
        """The children that work; replaced as a whole, so that the listener's thread can read it."""
        self._tell_ready = ready
        self._announced = False
        self._starts: list[tuple[float, int]] = []
        """When to start the next children, and their numbers."""
        self._to_replace: deque[ChildProcess] = deque()
        self._failed_starts = self._short_lives = 0
        self._stop_by: float | None = None
        self._cold = False
        self._next_look = 0.0
        self._signals: list[int] = []
        self._posted: deque[Callable[[], object]] = deque()
        self._terminal = os.isatty(0)
        self._alarm_in, self._alarm_out = os.pipe()
        os.set_blocking(self._alarm_in, False)
        os.set_blocking(self._alarm_out, False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._alarm_in, selectors.EVENT_READ, self._silence_alarm)
        if parent_descriptor is not None:
            self._watch_parent(parent_descriptor)

    def run(self) -> int:
        """Work until told to stop; return the exit code."""
        self._catch_signals()
        try:
            self._begin()
            while self._children or self._starts:
                self._turn()
        except StoppedEarly:
            logger.info("told to stop before it had begun")
        finally:
            self._end()
        return self.exitcode

    # The order of beginning and ending

    def _begin(self) -> None:
        """Start in an order in which each finds what it needs."""
        plan = self._learn_plan()
        database = self._open_database(plan)
        if self.wishes.purge:
            logger.warning("purged %d tasks from %s", queues.purge(database, plan.queues), ", ".join(plan.queues))
        database.dispose()  # what follows has connections of its own
        upkeep = self._make_upkeep(database, plan)
        listener = Listener(database, "wake", self._heard)
        self._services = Services(database, upkeep, listener)
        upkeep.start()
        listener.start()
        for child in self._children:
            self._ask_for_lease(child)
        for number in range(1, plan.processes):
            self._start_child(number)

    def _end(self) -> None:
        """Stop in the reverse order; what children have left behind is rescued before the connection goes."""
        for child in list(self._children):
            child.kill(Ending("the supervisor ended", orderly=True))
            child.wait(5)
            self._bury(child)
        if self._services is not None:
            self._services.listener.stop(5)
            self._services.upkeep.stop(5)
            self._services.database.dispose()
        signal.set_wakeup_fd(-1)
        self._selector.close()
        os.close(self._alarm_in)
        os.close(self._alarm_out)

    # Beginning

    def _learn_plan(self) -> Plan:
        """Have a first child load the application; another, if the settings ask for a pool that it is not made for."""
        self._start_child(0)
        while self._plan is None or not any(child.greeted and child.ending is None for child in self._children):
            self._turn()
        return self._plan

    def _open_database(self, plan: Plan) -> Database:
        url: Any = plan.url or embedded.EmbeddedPostgres.at(plan.data_folder).url
        database = Database(
            url,
            schema=plan.schema,
            connect_timeout=plan.connect_timeout,
            pooled=plan.pooled,
            direct_url=plan.direct_url,
        )
        if not database.listens:
            logger.warning(
                "behind a pooler nothing can be heard of new tasks: workers poll; set lavoro_direct_url to be notified"
            )
        while True:
            try:
                if plan.url is None:
                    migrations.migrate(database)
                else:
                    migrations.check(database)
                return database
            except OperationalError as error:
                self._obey_signals()
                if not plan.retry_at_start:
                    raise
                logger.warning("%s; trying again", error)
            self._pause(DATABASE_PAUSE)

    def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self._turn()

    def _make_upkeep(self, database: Database, plan: Plan) -> Upkeep:
        retention = {
            "finished_success": plan.success_expires,
            "finished_failure": plan.failure_expires,
            "attempt": plan.failure_expires,
        }
        hooks = Hooks(
            lost=lambda worker_ids: self._post(lambda: self._lose_leases(worker_ids)),
            cancel=lambda cancels: self._post(lambda: self._pass_cancels_on(cancels)),
        )
        return Upkeep(database, hooks, lease=plan.lease, max_crashes=plan.max_crashes, retention=retention)

    # The loop

    def _turn(self) -> None:
        """Wait for something, then do all there is to do."""
        self._wait()
        self._obey_signals()
        while self._posted:
            self._posted.popleft()()
        self._look_after_children()
        for child in [child for child in self._children if child.exitcode is not None]:
            self._bury(child)
        self._replace_worn()
        self._start_due()

    def _wait(self) -> None:
        """Wait for a word of a child, a signal, a posted call, the parent's end, or the next look at the boards."""
        now = time.monotonic()
        next_start = min((moment for moment, _ in self._starts), default=self._next_look)
        for key, _ in self._selector.select(max(0.0, min(self._next_look, next_start) - now)):
            if isinstance(key.data, ChildProcess):
                self._take_in(key.data)
            else:
                key.data()

    def _silence_alarm(self) -> None:
        with suppress(BlockingIOError):
            os.read(self._alarm_in, 4096)

    def _post(self, call: Callable[[], object]) -> None:
        """Have the main thread call a function; for the other threads."""
        self._posted.append(call)
        with suppress(OSError):  # it is full: there are alarms enough; or closed: we are past all this
            os.write(self._alarm_out, b"!")

    # What children say

    def _take_in(self, child: ChildProcess) -> bool:
        """Handle what a child has said; False when it has hung up, which is either its end or soon will be."""
        messages = child.pipe.receive()
        if messages is None:
            self._selector.unregister(child.pipe)
            child.hung_up = time.monotonic()
            return False
        for message in messages:
            getattr(self, f"_on_{message['kind']}")(child, message)
        return True

    def _on_hello(self, child: ChildProcess, message: Message) -> None:
        child.greeted = True
        told = Plan.from_dict(message["plan"])
        if self._services is not None:
            assert self._plan is not None
            # What a reload has changed and needs no other supervisor.
            self._plan = dataclasses.replace(self._plan, queues=told.queues, tasks=told.tasks, grace=told.grace)
            self._ask_for_lease(child)
            return
        self._plan = told
        if told.pool != child.pool:
            child.kill(Ending("the settings ask for another pool"))

    def _on_failed(self, child: ChildProcess, message: Message) -> None:
        if self._services is None:
            raise StartFailed(message["error"], message["traceback"])
        logger.error("a new process cannot work: %s", message["error"])

    def _on_ready(self, child: ChildProcess, message: Message) -> None:
        child.ready = True
        self._failed_starts = 0
        self._count_ready()
        plan = self._plan
        if plan is None or self._announced or len(self._ready) < plan.processes:
            return
        self._announced = True
        text = _ready_text(self.hostname, plan)
        logger.info("%s", text)
        if self._tell_ready is not None:
            self._tell_ready(text)
        min(self._ready, key=lambda ready: ready.number).pipe.send("announce")  # one speaks for all

    def _on_rest(self, child: ChildProcess, message: Message) -> None:
        child.resting = message["resting"]
        self._want_wakes()
        if child.resting and self._services is not None:
            # Until the lock is held a task may come unannounced: the child looks once more after this.
            self._services.listener.when_heard(lambda: child.pipe.send("rest"))

    def _on_worn(self, child: ChildProcess, message: Message) -> None:
        logger.info("process %d is replaced after %s", child.pid, message["reason"])
        if child.leave_by is None:
            child.stop(None, how="warm", sig=None, node=False)

    def _on_bye(self, child: ChildProcess, message: Message) -> None:
        if child.leave_by is None:  # it leaves for a reason of its own
            child.leave_by = time.monotonic()

    def _count_ready(self) -> None:
        self._ready = tuple(child for child in self._children if child.ready)
        self._want_wakes()

    # Leases

    def _ask_for_lease(self, child: ChildProcess) -> None:
        plan, services = self._plan, self._services
        assert plan is not None
        assert services is not None
        registration = Registration(
            self.hostname, child.number, socket.gethostname(), child.pid, plan.pool, plan.slots, list(plan.queues),
            lavoro.__version__, plan.lease,
        )  # fmt: skip
        services.upkeep.register(
            registration, lambda worker_id: self._post(lambda: self._give_lease(child, worker_id, registration))
        )

    def _give_lease(self, child: ChildProcess, worker_id: int, registration: Registration) -> None:
        assert self._plan is not None
        assert self._services is not None
        if child not in self._children or child.ending is not None:
            self._services.upkeep.rescue(Rescue(worker_id, "it had ended before it could begin", [], blameless=True))
            return
        board = child.lease(
            worker_id, trusted_until=self._services.upkeep.trusted_until, slots=registration.slots,
            pool=registration.pool, queues=registration.queues, hostname=self.hostname,
        )  # fmt: skip
        self._watches[child] = Watch(child, board, blocked_after=self._plan.blocked_warning)

    def _lose_leases(self, worker_ids: set[int]) -> None:
        """Others have taken these children's tasks: end them before they do any more."""
        for child in self._children:
            if child.worker_id in worker_ids and child.ending is None:
                logger.error("process %d has lost its lease to another node; ending it", child.pid)
                child.kill(Ending("its lease was lost to another node"))

    def _pass_cancels_on(self, cancels: Sequence[Cancel]) -> None:
        for child, watch in self._watches.items():
            watch.cancel(
                [(id, attempt, how) for id, worker_id, attempt, how in cancels if worker_id == child.worker_id]
            )

    # What the database says, in the listener's thread

    def _heard(self, payload: str | None) -> None:
        """Pass a notification on to who can use it; None: some may have been missed."""
        services, plan = self._services, self._plan
        if services is None or plan is None:
            return
        if payload is not None and payload.startswith("x"):
            services.upkeep.look_for_cancels()
            return
        found = _WAKE.fullmatch(payload or "!")
        if found is None:
            return  # nobody of ours has sent that
        queue, back = found["lane"], found["back"]
        if (queue if back is None else back) in (*plan.queues, ""):
            for child in self._ready:
                if child.resting or back is not None:
                    child.pipe.nudge("wake", what=found[0])

    def _want_wakes(self) -> None:
        if self._services is not None and self._plan is not None:
            resting = any(child.resting for child in self._ready)
            self._services.listener.want([f"queue:{queue}" for queue in self._plan.queues] if resting else [])

    # Looking after children

    def _look_after_children(self) -> None:
        now = time.monotonic()
        if now < self._next_look:
            return
        self._next_look = now + TICK
        if self._services is None:
            return
        self._fence(now)
        for child in self._children:
            child.pipe.flush()
            self._end_if_late(child, now)
        for watch in self._watches.values():
            watch.look(self._services.upkeep.trusted_until)
            self._next_look = min(self._next_look, watch.deadline)

    def _fence(self, now: float) -> None:
        """End what may soon be taken over by others, for we have not been able to renew its lease."""
        assert self._plan is not None
        assert self._services is not None
        if now > self._services.upkeep.trusted_until - MARGIN * self._plan.lease:
            for child in self._watches:
                if child.ending is None:
                    logger.error("the lease of process %d could not be renewed in time; ending it", child.pid)
                    child.kill(Ending("its lease could not be renewed"))

    def _end_if_late(self, child: ChildProcess, now: float) -> None:
        if self._stop_by is not None and now > self._stop_by:
            child.kill(Ending("it did not stop in time", orderly=True))
        elif child.leave_by is not None and now > child.leave_by + LEAVING:
            child.kill(Ending("it did not leave in time", orderly=True))
        elif child.hung_up is not None and now > child.hung_up + HANG_UP:
            child.kill(Ending("it no longer spoke with its supervisor"))

    def _bury(self, child: ChildProcess) -> None:
        """Take leave of a child that is gone: hear its last words, have its tasks rescued, plan its successor."""
        while child.hung_up is None and self._take_in(child):
            pass
        self._children.remove(child)
        self._watches.pop(child, None)
        self._count_ready()
        if child.crashed and self._services is not None:
            logger.error("%s", child.obituary())
        rescue = child.rescue()
        child.close()
        if rescue is not None and self._services is not None:
            self._services.upkeep.rescue(rescue)
        if self._stop_by is None and not child.replaced:
            self._plan_successor(child)

    # Starting children

    def _start_child(self, number: int) -> None:
        pool = self._plan.pool if self._plan is not None else self.wishes.pool or "gevent"
        child = ChildProcess(self.wishes, pool=pool, number=number)
        self._children.append(child)
        self._selector.register(child.pipe, selectors.EVENT_READ, child)

    def _start_due(self) -> None:
        now = time.monotonic()
        for start in [start for start in self._starts if start[0] <= now]:
            self._starts.remove(start)
            self._start_child(start[1])

    def _plan_successor(self, child: ChildProcess) -> None:
        if self._services is None and child.crashed:
            raise StartFailed(f"{child.obituary()} before it had loaded the application")
        self._starts.append((time.monotonic() + self._pause_after(child), child.number))

    def _pause_after(self, child: ChildProcess) -> float:
        """Return how long to wait after an end: the longer, the more children have failed to begin.

        Who was ready has crashed over a task, and the budget of that task ends the matter: then the wait stays short,
        for the others' sake.
        """
        if not child.crashed:
            return 0.0
        if child.ready:
            self._short_lives = self._short_lives + 1 if time.monotonic() - child.started < 10 else 0
            return float(min(1.0, 0.05 * 2**self._short_lives))
        self._failed_starts += 1
        if self._failed_starts >= FAILED_STARTS and not self._ready:
            logger.critical("%d processes in a row have failed to begin; giving up", self._failed_starts)
            self.exitcode = 1
            self._stop("giving up", cold=True)
        return float(min(30.0, 0.1 * 2**self._failed_starts))

    def _replace_worn(self) -> None:
        """Replace those of a reload one by one, and start successors of who takes its time to leave."""
        if self._stop_by is not None:
            return
        now = time.monotonic()
        for child in self._children:
            if child.leave_by is not None and not child.replaced and now > child.told_to_leave + REPLACEMENT_PATIENCE:
                child.replaced = True
                self._starts.append((now, child.number))
        assert self._plan is not None or not self._to_replace
        while self._to_replace and self._to_replace[0] not in self._ready:
            self._to_replace.popleft()
        if self._to_replace and len(self._ready) == len(self._children) and not self._starts:
            assert self._plan is not None
            if all(child.leave_by is None for child in self._children):
                self._to_replace.popleft().stop(self._plan.grace, how="warm", sig="SIGHUP", node=False)

    # Stopping

    def _catch_signals(self) -> None:
        for number in (*STOP_SIGNALS, signal.SIGHUP, signal.SIGUSR1):
            signal.signal(number, lambda number, frame: self._signals.append(number))
        signal.signal(signal.SIGCHLD, lambda number, frame: None)  # for the alarm only
        signal.set_wakeup_fd(self._alarm_out, warn_on_full_buffer=False)

    def _watch_parent(self, descriptor: int) -> None:
        def leave() -> None:
            self._selector.unregister(descriptor)
            logger.info("the process that started this worker is gone")
            if self._stop_by is None:  # a second one would mean: now
                self._signals.append(signal.SIGTERM)

        try:
            self._selector.register(descriptor, selectors.EVENT_READ, leave)
        except (OSError, ValueError) as error:
            raise ImproperlyConfigured(
                f"--stop-with: {descriptor} is no descriptor that can be waited for: {error}"
            ) from None

    def _obey_signals(self) -> None:
        """TERM and INT: stop; a second one, or QUIT: now. HUP: replace the children. USR1: tell where they are."""
        requests, self._signals = self._signals, []
        for number in requests:
            name = signal.Signals(number).name
            if number == signal.SIGUSR1:
                for watch in self._watches.values():
                    watch.tell_where()
            elif number == signal.SIGHUP and not self._terminal_closed():
                self._reload()
            elif self._services is None:
                raise StoppedEarly
            else:
                self._stop(name, cold=number == signal.SIGQUIT or self._stop_by is not None)

    def _terminal_closed(self) -> bool:
        return self._terminal and not os.isatty(0)

    def _stop(self, why: str, *, cold: bool) -> None:
        """Tell everybody to leave; a cold stop after a cold one is the end."""
        assert self._plan is not None
        now, how = time.monotonic(), "cold" if cold else "warm"
        grace = 0.0 if cold else self._plan.grace
        logger.info("%s: stopping (%s), up to %g s", why, how, grace)
        self._starts.clear()
        self._stop_by = now if self._cold else now + (COLD if cold else grace + LEAVING)
        self._cold = cold
        for child in self._children:
            if child.worker_id is None:
                child.kill(Ending("the worker stopped before it could begin", orderly=True))
            else:
                child.stop(grace, how=how, sig=why, node=True)

    def _reload(self) -> None:
        logger.info("SIGHUP: replacing all processes")
        self._to_replace = deque(self._children)


class StoppedEarly(Exception):
    """The worker was told to stop before it had begun."""


class StartFailed(ImproperlyConfigured):
    """The application could not be loaded; ``details`` is the traceback of the child."""

    def __init__(self, message: str, details: str | None = None) -> None:
        super().__init__(message)
        self.details = details


def hostname(wish: str | None) -> str:
    """Expand Celery's ``%h`` (host), ``%n`` (its first part), ``%d`` (the rest), ``%p`` (process id)."""
    host = socket.gethostname()
    name, _, domain = host.partition(".")
    marks = {"%h": host, "%n": name, "%d": domain, "%p": str(os.getpid()), "%i": "0", "%I": "", "%%": "%"}
    text = re.sub("|".join(marks), lambda found: marks[found[0]], wish or "worker@%h")
    return text if "@" in text else f"{text}@{host}"


def _ready_text(node: str, plan: Plan) -> str:
    return (
        f"{node} ready: {plan.pool}, {_many(plan.processes, 'process', 'processes')} of {_many(plan.slots, 'slot')},"
        f" {_many(len(plan.queues), 'queue')} ({', '.join(plan.queues)}), {_many(len(plan.tasks), 'task')}"
    )


def _many(count: int, one: str, many: str = "") -> str:
    return f"{count} {one if count == 1 else many or one + 's'}"


def run(wishes: Wishes, *, parent_descriptor: int | None = None, ready: Callable[[str], object] | None = None) -> int:
    """Run a worker in this process until it is told to stop; return its exit code."""
    return Supervisor(wishes, parent_descriptor=parent_descriptor, ready=ready).run()
