"""The supervisor: starts children, keeps their leases, watches their limits, stops everything in order."""

from __future__ import annotations

import json
import logging
import os
import select
import signal
import socket
import time
from typing import Any

import lavoro
from lavoro.errors import ImproperlyConfigured, LavoroError, OperationalError
from lavoro.store import embedded
from lavoro.store import migrate as migrations
from lavoro.store.database import Database
from lavoro.store.listener import Listener
from lavoro.store.workers import Registration, Rescue
from lavoro.worker.plan import Plan, Wishes
from lavoro.worker.process import ChildProcess
from lavoro.worker.upkeep import Upkeep

logger = logging.getLogger("lavoro.worker")

TICK = 0.25
"""Seconds between looks at the boards: hard limits and blocked loops are noticed this late."""
START_TIMEOUT = 60.0
MARGIN = 0.2
"""The part of a lease before whose end we fence ourselves off: what we run then must be dead when others take over."""


class Supervisor:
    """A small process that never imports the application and is never patched.

    Its children import the application; the first tells what the settings say. Everything that must go on while user
    code blocks is done here: leases, rescue, limits, listening, stopping.
    """

    def __init__(self, wishes: Wishes, *, parent_descriptor: int | None = None) -> None:
        self.wishes = wishes
        self.plan: Plan | None = None
        self.children: list[ChildProcess] = []
        self.hostname = _hostname(wishes.hostname)
        self.exitcode = 0
        self._parent = parent_descriptor
        self._stop_requests: list[int] = []
        self._stop_by: float | None = None
        self._restarts: list[float] = []
        self._start_at: list[tuple[float, int]] = []
        self._alarm_in, self._alarm_out = os.pipe()
        os.set_blocking(self._alarm_in, False)

    def run(self) -> int:
        """Work until told to stop; return the exit code."""
        self._watch_signals()
        try:
            self._begin()
            while self.children or self._start_at:
                self._wait()
                self._obey_signals()
                self._watch_children()
                self._bury_the_dead()
                self._start_missing()
        finally:
            self._end()
        return self.exitcode

    # Beginning

    def _begin(self) -> None:
        """Start in an order in which each finds what it needs: plan, database, upkeep, listener, leases."""
        first, plan = self._first_child()
        self.plan = plan
        self.database = self._open_database(plan)
        retention = {
            "finished_success": plan.success_expires,
            "finished_failure": plan.failure_expires,
            "attempt": plan.failure_expires,
        }
        self.upkeep = Upkeep(
            self.database, lease=plan.lease, max_crashes=plan.max_crashes, retention=retention,
            renewing=self._leased, lost=self._lose_leases, cancel=self._cancel_all,
        )  # fmt: skip
        self.listener = Listener(self.database, "wake", self._heard)
        self.upkeep.start()
        self.listener.start()
        self.children.append(first)
        self._lease(first)
        for number in range(1, plan.processes):
            self._start_child(number)

    def _first_child(self) -> tuple[ChildProcess, Plan]:
        """Start a child to learn the plan; start it again if the settings ask for a pool it is not made for."""
        pool = self.wishes.pool or "gevent"
        while True:
            child = ChildProcess(self.wishes, pool=pool, number=0)
            plan = self._hear_plan(child)
            if plan.pool == pool:
                return child, plan
            child.kill("the settings ask for another pool")
            child.wait(5)
            child.close()
            pool = plan.pool

    def _hear_plan(self, child: ChildProcess) -> Plan:
        for message in child.pipe.messages():
            if message["kind"] == "hello":
                return Plan.from_dict(message["plan"])
            if message["kind"] == "failed":
                raise StartFailed(message["error"], message.get("traceback"))
        child.wait(5)
        raise StartFailed(f"the first {child.obituary()} before it had loaded the application")

    def _open_database(self, plan: Plan) -> Database:
        url: Any = plan.url or embedded.EmbeddedPostgres.at(plan.data_folder).url
        database = Database(url, schema=plan.schema, connect_timeout=plan.connect_timeout)
        while True:
            try:
                migrations.check(database) if plan.url else migrations.migrate(database)
                return database
            except OperationalError as error:
                if not plan.retry_at_start or self._stop_requests:
                    raise
                logger.warning("%s; trying again", error)
                select.select([self._alarm_in], [], [], 2)

    def _start_child(self, number: int) -> None:
        assert self.plan is not None
        self.children.append(ChildProcess(self.wishes, pool=self.plan.pool, number=number))

    def _lease(self, child: ChildProcess) -> None:
        plan = self.plan
        assert plan is not None
        worker_id = self.upkeep.register(
            Registration(
                self.hostname, child.number, socket.gethostname(), child.pid, plan.pool, plan.slots, list(plan.queues),
                lavoro.__version__, plan.lease,
            )  # fmt: skip
        )
        child.lease(worker_id, slots=plan.slots, pool=plan.pool, queues=list(plan.queues), hostname=self.hostname)

    # The loop

    def _wait(self) -> None:
        """Wait for a word of a child, a signal, the parent's end, or the next tick; take in what was said."""
        watched: list[Any] = [self._alarm_in, *self.children]
        if self._parent is not None:
            watched.append(self._parent)
        ready, _, _ = select.select(watched, [], [], TICK)
        for source in ready:
            if source is self._alarm_in:
                os.read(self._alarm_in, 4096)
            elif source is self._parent:
                self._parent_left()
            else:
                self._take_in(source)

    def _take_in(self, child: ChildProcess) -> None:
        messages = child.pipe.receive()
        if messages is None:
            child.wait(1)  # the pipe closes with the process: its end is at hand
        for message in messages or ():
            getattr(self, f"_on_{message['kind']}")(child, message)

    def _on_hello(self, child: ChildProcess, message: dict[str, Any]) -> None:
        try:
            self._lease(child)
        except LavoroError as error:
            logger.warning("no lease for a new child yet: %s", error)
            child.kill("the database could not be reached", blameless=True)

    def _on_failed(self, child: ChildProcess, message: dict[str, Any]) -> None:
        logger.error("a child could not load the application: %s", message["error"])

    def _on_ready(self, child: ChildProcess, message: dict[str, Any]) -> None:
        child.ready = True
        if all(other.ready for other in self.children) and len(self.children) == self.plan.processes:  # type: ignore[union-attr]
            self._tell_ready()

    def _tell_ready(self) -> None:
        plan = self.plan
        assert plan is not None
        logger.info(
            "%s ready: %s, %d process%s of %d slot%s, queues %s, %d tasks",
            self.hostname, plan.pool, plan.processes, "" if plan.processes == 1 else "es", plan.slots,
            "" if plan.slots == 1 else "s", ", ".join(plan.queues), len(plan.tasks),
        )  # fmt: skip

    def _on_rest(self, child: ChildProcess, message: dict[str, Any]) -> None:
        child.resting = message["resting"]
        resting = any(other.resting for other in self.children)
        assert self.plan is not None
        self.listener.want([f"queue:{queue}" for queue in self.plan.queues] if resting else [])
        if child.resting:
            # Until the lock is held a task may come unannounced: the child looks once more after this.
            self.listener.when_heard(lambda: child.pipe.send("rest"))

    def _on_worn(self, child: ChildProcess, message: dict[str, Any]) -> None:
        assert self.plan is not None
        logger.info("child %d is replaced after %s", child.pid, message["reason"])
        child.stop(grace=self.plan.grace, how="warm")

    def _on_bye(self, child: ChildProcess, message: dict[str, Any]) -> None:
        child.stopping = True

    def _heard(self, payload: str | None) -> None:
        """A notification, in the listener's thread."""
        kind, rest = (payload[0], payload[1:]) if payload else ("!", "")
        if kind == "x":
            worker_id, _, id = rest.partition(":")
            self._cancel_all([(id, int(worker_id), 0, '{"terminate":true}')])
            return
        for child in list(self.children):
            if child.ready and (child.resting or kind == "!"):
                child.pipe.send("wake", older=kind == "!")

    # Watching

    def _watch_children(self) -> None:
        """Enforce hard limits and our own fence."""
        for child in self.children:
            entry = child.board.overdue() if child.board is not None else None
            if entry is not None:
                logger.error("task %s ran past its hard time limit; ending its process %d", entry.id, child.pid)
                child.kill("the task ran past its hard time limit", culprit=entry.id, blameless=True)
        assert self.plan is not None
        if time.monotonic() > self.upkeep.trusted_until - MARGIN * self.plan.lease:
            for child in self.children:
                if child.worker_id is not None and child.end_reason is None:
                    logger.error("the lease of child %d could not be renewed in time; ending it", child.pid)
                    child.kill("its lease could not be renewed", blameless=True)

    def _leased(self) -> list[int]:
        return [child.worker_id for child in list(self.children) if child.worker_id is not None and child.exitcode is None]

    def _lose_leases(self, worker_ids: set[int]) -> None:
        """Others have taken these children's tasks: end them before they do any more."""
        for child in list(self.children):
            if child.worker_id in worker_ids and not child.stopping:
                logger.error("child %d has lost its lease to another node; ending it", child.pid)
                child.kill("its lease was lost", blameless=True)

    def _cancel_all(self, wanted: list[Any]) -> None:
        for id, worker_id, _, how in wanted:
            for child in list(self.children):
                if child.worker_id == worker_id:
                    child.pipe.send("cancel", id=str(id), **_cancel_options(how))

    def _bury_the_dead(self) -> None:
        for child in [child for child in self.children if child.exitcode is not None]:
            self.children.remove(child)
            self._rescue(child)
            child.close()
            if self._stop_by is None:
                self._schedule_restart(child)

    def _rescue(self, child: ChildProcess) -> None:
        if child.worker_id is None:
            return
        clean = child.exitcode == 0 and child.stopping
        if not clean:
            logger.error("%s", child.obituary())
        suspects = [entry.id for entry in child.board.entries()] if child.board is not None else []
        self.upkeep.rescue(
            Rescue(child.worker_id, child.obituary(), [] if clean else suspects, child.culprit, clean or child.blameless)
        )

    def _schedule_restart(self, child: ChildProcess) -> None:
        """A child that dies at once is not started again at once: each further death doubles the wait, up to 30 s."""
        now = time.monotonic()
        if child.stopping or child.ready and now - child.started > 10:
            self._restarts.clear()
        self._restarts = [moment for moment in self._restarts if now - moment < 120]
        delay = min(30.0, 0.1 * 2 ** len(self._restarts)) if self._restarts else 0.0
        self._restarts.append(now)
        self._start_at.append((now + delay, child.number))

    def _start_missing(self) -> None:
        now = time.monotonic()
        for moment, number in [due for due in self._start_at if due[0] <= now]:
            self._start_at.remove((moment, number))
            self._start_child(number)

    # Stopping

    def _watch_signals(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
            signal.signal(number, self._note_signal)

    def _note_signal(self, number: int, frame: object) -> None:
        self._stop_requests.append(number)
        os.write(self._alarm_out, b"!")

    def _parent_left(self) -> None:
        self._parent = None
        self._stop_requests.append(signal.SIGTERM)

    def _obey_signals(self) -> None:
        """TERM and INT: warm, a second one: now. QUIT: now. HUP: replace the children."""
        requests, self._stop_requests = self._stop_requests, []
        for number in requests:
            if number == signal.SIGHUP:
                self._reload()
            elif number == signal.SIGQUIT or self._stop_by is not None:
                self._stop(0.0, how="cold", number=number)
            else:
                assert self.plan is not None
                self._stop(self.plan.grace, how="warm", number=number)
        if self._stop_by is not None and time.monotonic() > self._stop_by:
            for child in self.children:
                child.kill("it did not stop in time", blameless=True)

    def _stop(self, grace: float, *, how: str, number: int) -> None:
        logger.info("%s: stopping (%s), up to %g s", signal.Signals(number).name, how, grace)
        self._start_at.clear()
        self._stop_by = time.monotonic() + grace + (15.0 if grace else 3.0)
        for child in self.children:
            child.stop(grace=grace, how=how, sig=signal.Signals(number).name)

    def _reload(self) -> None:
        assert self.plan is not None
        logger.info("SIGHUP: replacing all children")
        for child in self.children:
            child.stop(grace=self.plan.grace, how="warm", sig="SIGHUP")

    def _end(self) -> None:
        """Stop in the reverse order; what children left behind is rescued before the connection goes."""
        for child in self.children:
            child.kill("the supervisor ended", blameless=True)
            child.wait(5)
            if self.plan is not None and hasattr(self, "upkeep"):
                self._rescue(child)
            child.close()
        self.children.clear()
        if hasattr(self, "upkeep"):
            self.upkeep.wait_until_rescued(5)
            self.listener.stop(5)
            self.upkeep.stop(5)
            self.database.dispose()


class StartFailed(ImproperlyConfigured):
    """The application could not be loaded; ``details`` is the traceback of the child."""

    def __init__(self, message: str, details: str | None = None) -> None:
        super().__init__(message)
        self.details = details


def _hostname(wish: str | None) -> str:
    """Expand Celery's ``%h`` (host), ``%n`` (its first part), ``%d`` (the rest), ``%p`` (process id)."""
    host = socket.gethostname()
    name, _, domain = host.partition(".")
    text = wish or f"worker@{host}"
    for mark, value in (("%h", host), ("%n", name), ("%d", domain), ("%p", str(os.getpid())), ("%%", "%")):
        text = text.replace(mark, value)
    return text if "@" in text else f"{text}@{host}"


def _cancel_options(how: str) -> dict[str, Any]:
    return dict(json.loads(how))


def run(wishes: Wishes, *, parent_descriptor: int | None = None) -> int:
    """Run a worker in this process until it is told to stop; return its exit code."""
    return Supervisor(wishes, parent_descriptor=parent_descriptor).run()

