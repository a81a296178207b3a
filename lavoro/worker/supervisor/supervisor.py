"""The supervisor: begins in order, turns until it is told to stop, and ends in the reverse order."""

from __future__ import annotations

import dataclasses
import logging
import math
import os
import signal
import time
from collections.abc import Callable
from typing import NamedTuple

from lavoro.exceptions import ImproperlyConfigured, OperationalError
from lavoro.store import queues
from lavoro.store.database import Database
from lavoro.store.workers import Ending, Rescue
from lavoro.text.plural import counted
from lavoro.worker.config import RELOADED, Plan, Wishes, node_name
from lavoro.worker.pipe import Message
from lavoro.worker.supervisor import start_warnings
from lavoro.worker.supervisor.children import Children, StartFailed
from lavoro.worker.supervisor.leases import Leases
from lavoro.worker.supervisor.lifecycle import State
from lavoro.worker.supervisor.liveness import Liveness
from lavoro.worker.supervisor.loop import Loop
from lavoro.worker.supervisor.notifications import Switchboard
from lavoro.worker.supervisor.process import ChildProcess
from lavoro.worker.supervisor.stopping import Stopping
from lavoro.worker.supervisor.storage import check, database_of, name_of
from lavoro.worker.supervisor.systemd import Systemd

logger = logging.getLogger("lavoro.worker")

TICK = 0.25
"""Seconds between looks at the boards; a hard limit that passes earlier has its own."""
DATABASE_PAUSE = 2.0

STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
CAUGHT = (*STOPS, signal.SIGHUP, signal.SIGUSR1)


class Services(NamedTuple):
    """What the supervisor has besides its children, once the first of them has told the plan."""

    database: Database
    leases: Leases
    switchboard: Switchboard
    liveness: Liveness


class Supervisor:
    """A small process that never imports the application and is never patched.

    Its children import the application; the first tells what the settings say. Everything that must go on while user
    code blocks is done here: leases, rescue, limits, listening, stopping. Children are the main thread's alone; the
    threads of upkeep and listener ``post`` what they have for it.
    """

    def __init__(
        self, wishes: Wishes, *, parent_descriptor: int | None = None, tell: Callable[[str], object] | None = None
    ) -> None:
        self.wishes = wishes
        self.hostname = node_name(wishes.hostname)
        self.exitcode = 0
        self._tell = tell
        self._announced = False
        self._named: list[str] = []
        """The settings that have changed in vain."""
        self._next_look = 0.0
        self._terminal = os.isatty(0)
        self._systemd = Systemd()
        self._loop = Loop()
        self._children = Children(wishes, self._loop, heard=self._heard, on_exit=self._on_exit)
        self._stopping = Stopping(self._children)
        self._services: Services | None = None
        self._parent: int | None = None
        if parent_descriptor is not None:
            self._watch_parent(parent_descriptor)

    def run(self) -> int:
        """Work until told to stop; return the exit code."""
        self._loop.catch(CAUGHT)
        try:
            self._begin()
            while self._children.remain:
                self._turn()
        except StoppedEarly:
            self._say("told to stop before it had begun")
        finally:
            self._end()
        self._say("stopped")
        return self.exitcode

    def _say(self, text: str) -> None:
        """Log a line about the start or the stop, whatever the level of the log is."""
        logger.handle(logger.makeRecord(logger.name, logging.INFO, __file__, 0, text, (), None))
        if self._tell is not None:
            self._tell(text)

    # The order of beginning and ending

    def _begin(self) -> None:
        """Start in an order in which each finds what it needs."""
        plan = self._learn_plan()
        database = database_of(plan)
        self._wait_for(database, plan)
        own = [child.pid for child in self._children.present]
        for note in (*plan.notes, *start_warnings.of_the_node(database, self.hostname, own)):
            logger.warning("%s", note)
        if self.wishes.purge:
            purged = counted(queues.purge(database, plan.queues), "task")
            logger.warning("purged %s from %s", purged, ", ".join(plan.queues))
        database.dispose()  # what follows has connections of its own
        leases = Leases(database, plan, loop=self._loop, children=self._children, node=self.hostname)
        upkeep = leases.upkeep
        switchboard = Switchboard(database, self._children, renew=upkeep.renew, expect_expiry=upkeep.expect_expiry)
        switchboard.queues = plan.queues
        liveness = Liveness(self.wishes.liveness_file, upkeep, self._children)
        self._services = Services(database, leases, switchboard, liveness)
        self._children.begun = True
        leases.start()
        switchboard.start()
        liveness.start()
        for number in range(1, plan.processes):
            self._children.start(number)

    def _end(self) -> None:
        """Stop in the reverse order; what children have left behind is rescued before the connection goes."""
        self._loop.turned = math.inf  # it turns no more; the leases of what is being ended are renewed all the same
        self._children.end()
        if self._services is not None:
            self._services.liveness.stop(5)
            self._services.switchboard.stop()
            self._services.leases.stop()
            self._services.database.dispose()
        self._loop.close()

    # Beginning

    def _learn_plan(self) -> Plan:
        """Have a first child load the application; another, if the settings ask for a pool that it is not made for."""
        self._children.start(0)
        while True:
            plan = self._children.plan
            if plan is not None and any(child.life.loaded and child.ending is None for child in self._children.present):
                return plan
            self._turn()

    def _wait_for(self, database: Database, plan: Plan) -> None:
        said = ""
        while True:
            try:
                with self._loop.interrupted(StoppedEarly(), by=STOPS):  # to make or reach a database may take long
                    return check(database, plan)
            except OperationalError as error:
                self._obey_signals()
                if not plan.retry_at_start:
                    raise
                if str(error) != said:  # an outage is no news every other second
                    said = str(error)
                    logger.warning("%s; trying again until it answers", error)
            self._pause(DATABASE_PAUSE)

    def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self._turn()

    def _watch_parent(self, descriptor: int) -> None:
        """Stop once the descriptor is closed, or the parent is gone: its forks may hold the descriptor open."""

        def leave() -> None:
            self._loop.forget(descriptor)
            self._leave_with_parent()

        self._parent = os.getppid()
        try:
            self._loop.watch(descriptor, leave)
        except (OSError, ValueError) as error:
            raise ImproperlyConfigured(
                f"--stop-with: {descriptor} is no descriptor that can be waited for: {error}"
            ) from None

    def _leave_with_parent(self) -> None:
        self._parent = None
        logger.info("the process that started this worker is gone")
        if not self._stopping.begun:  # a second one would mean: now
            self._obey(signal.SIGTERM)

    # The loop

    def _turn(self) -> None:
        """Wait for something, then do all there is to do."""
        self._loop.wait(min(self._next_look, self._children.next_start))
        self._obey_signals()
        self._look_around()
        self._children.reap()
        if self._children.hopeless and not self._stopping.begun:
            self._give_up()
        self._children.replace_worn()
        self._children.start_due()

    def _look_around(self) -> None:
        now = time.monotonic()
        if now < self._next_look:
            return
        self._next_look = now + TICK
        if self._parent not in (None, os.getppid()):
            self._leave_with_parent()
        if self._services is not None:
            next_limit = self._services.leases.look(now)
            self._stopping.enforce(now)
            self._children.look_after(now)
            self._next_look = min(self._next_look, next_limit)
            if self._services.leases.alive(now):
                self._systemd.watch(now)

    def _give_up(self) -> None:
        if self._services is None:
            raise StartFailed("too many processes in a row have ended before the worker could begin")
        logger.critical("too many processes in a row have failed to begin; giving up")
        self.exitcode = 1
        self._stop("giving up", cold=True, grace=0)

    def _stop(self, why: str, *, cold: bool, grace: float) -> None:
        self._systemd.tell("STOPPING=1", f"STATUS={why}: stopping")
        self._say(self._stopping.order(why, cold=cold, grace=grace))

    # What signals say

    def _obey_signals(self) -> None:
        for number in self._loop.caught():
            self._obey(number)

    def _obey(self, number: int) -> None:
        """TERM and INT: stop; another one later, or QUIT: now. HUP: replace the children. USR1: tell where they are."""
        name, services, plan = signal.Signals(number).name, self._services, self._children.plan
        if number == signal.SIGUSR1:
            if services is not None:
                services.leases.tell_where()
        elif number == signal.SIGHUP and not self._terminal_closed():
            logger.info("SIGHUP: replacing all processes")
            self._children.reload()
        elif services is None or plan is None:
            raise StoppedEarly
        elif number == signal.SIGQUIT or not self._stopping.echoes:
            cold = number == signal.SIGQUIT or self._stopping.begun
            self._stop(name, cold=cold, grace=plan.grace)

    def _terminal_closed(self) -> bool:
        return self._terminal and not os.isatty(0)

    # What children say

    def _heard(self, child: ChildProcess, message: Message) -> None:
        getattr(self, f"_on_{message['kind']}")(child, message)

    def _on_hello(self, child: ChildProcess, message: Message) -> None:
        child.life.reach(State.LOADED)
        told = Plan.from_dict(message["plan"])
        if self._services is None or self._children.plan is None:
            self._children.plan = told
            if told.pool != child.pool:
                child.kill(Ending.stopped("the settings ask for another pool"))
            return
        self._take_over(told, self._services, self._children.plan)
        self._services.leases.ask(child, told)

    def _take_over(self, told: Plan, services: Services, known: Plan) -> None:
        """Take over what has changed since the last child loaded the application, and name what only a restart can."""
        changed = told.fixed(known)
        if changed and changed != self._named:
            logger.warning("changed settings that only a restart of the worker takes over: %s", ", ".join(changed))
        self._named = changed
        for note in told.notes:
            if note not in known.notes:
                logger.warning("%s", note)
        self._children.plan = dataclasses.replace(known, **{name: getattr(told, name) for name in RELOADED})
        self._children.resize(told.processes)
        services.switchboard.queues = told.queues
        services.switchboard.update()

    def _on_failed(self, child: ChildProcess, message: Message) -> None:
        if self._services is None:
            raise StartFailed(message["error"], message["traceback"])
        logger.error("a new process cannot work: %s", message["error"])

    def _on_ready(self, child: ChildProcess, message: Message) -> None:
        self._children.welcome(child)
        if self._services is not None:
            self._services.switchboard.update()
            self._services.leases.handlers.look()
        plan = self._children.plan
        if plan is None or self._announced or len(self._children.ready) < plan.processes:
            return
        self._announced = True
        text = plan.summary(self.hostname, app=self.wishes.app, database=name_of(plan))
        self._say(text)
        logger.debug("tasks: %s", ", ".join(plan.tasks))
        self._systemd.tell("READY=1", f"STATUS={text}")
        min(self._children.ready, key=lambda ready: ready.number).pipe.send("announce")  # one speaks for all

    def _on_rest(self, child: ChildProcess, message: Message) -> None:
        if self._services is not None:
            self._services.switchboard.rest(child, resting=message["resting"])

    def _on_idle(self, child: ChildProcess, message: Message) -> None:
        if self._services is not None:
            self._services.leases.idle(child, idle=message["idle"])

    def _on_worn(self, child: ChildProcess, message: Message) -> None:
        logger.info("process %d is replaced after %s", child.pid, message["reason"])
        if not child.life.leaving:
            child.stop(None, how="warm", sig=None, node=False)

    def _on_bye(self, child: ChildProcess, message: Message) -> None:
        child.life.said_bye = True
        if not child.life.leaving:  # it leaves for a reason of its own
            child.life.leave(by=time.monotonic())

    def _on_exit(self, child: ChildProcess, rescue: Rescue | None) -> None:
        if self._services is not None:
            self._services.leases.end(child, rescue)
            self._services.switchboard.update()


class StoppedEarly(BaseException):
    """The worker was told to stop before it had begun."""


def run(wishes: Wishes, *, parent_descriptor: int | None = None, tell: Callable[[str], object] | None = None) -> int:
    """Run a worker in this process until it is told to stop; return its exit code.

    ``tell`` gets the lines about its start and its stop, which are in the log too.
    """
    return Supervisor(wishes, parent_descriptor=parent_descriptor, tell=tell).run()
