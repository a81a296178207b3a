"""The supervisor: starts its parts in order, loops until it is told to stop, and stops them in the reverse order."""

from __future__ import annotations

import logging
import math
import os
import signal
import time
from collections.abc import Callable
from typing import NamedTuple

from lavoro.store import queues
from lavoro.store.database import Database
from lavoro.store.workers import Rescue
from lavoro.text.plural import counted
from lavoro.worker.config import WorkerConfig, WorkerOptions, node_name
from lavoro.worker.pipe import Message
from lavoro.worker.quota import Quota
from lavoro.worker.supervisor import start_warnings
from lavoro.worker.supervisor.actions import Actions, Orders
from lavoro.worker.supervisor.activity import Activity
from lavoro.worker.supervisor.announcements import Announcements
from lavoro.worker.supervisor.autoscale import Autoscale
from lavoro.worker.supervisor.banner import banner, facts_of
from lavoro.worker.supervisor.children import Children
from lavoro.worker.supervisor.commands import Commands
from lavoro.worker.supervisor.current_config import CurrentConfig
from lavoro.worker.supervisor.drain import Drain
from lavoro.worker.supervisor.leases import Leases
from lavoro.worker.supervisor.lifecycle import State
from lavoro.worker.supervisor.liveness import Liveness
from lavoro.worker.supervisor.loop import Loop
from lavoro.worker.supervisor.notifications import Heard, NotificationRouter
from lavoro.worker.supervisor.parent import Parent
from lavoro.worker.supervisor.process import ChildProcess
from lavoro.worker.supervisor.startup import STOPS, Started, Startup, StoppedEarly, said_bye
from lavoro.worker.supervisor.stopping import Stopping
from lavoro.worker.supervisor.storage import name_of
from lavoro.worker.supervisor.ticking import Ticking

logger = logging.getLogger("lavoro.worker")

TICK = 0.25
"""Seconds between two checks of the scoreboards; a hard limit that passes earlier has its own."""
CAUGHT = (*STOPS, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGTSTP, signal.SIGCONT)


class Process(NamedTuple):
    """Objects of the supervisor's process, which its start uses too."""

    loop: Loop
    children: Children
    parent: Parent
    announcements: Announcements


class Services(NamedTuple):
    """Parts of the supervisor that use the database."""

    database: Database
    leases: Leases
    notifications: NotificationRouter
    liveness: Liveness
    ticking: Ticking
    drain: Drain
    commands: Commands
    activity: Activity
    autoscale: Autoscale


class Supervisor:
    """A small process that never imports the application and is never patched.

    Its children import the application. Everything that must go on while user code blocks is done here: leases,
    rescue, limits, listening, stopping. Children are the main thread's alone; the threads of upkeep and listener
    ``post`` their calls to it.
    """

    def __init__(self, options: WorkerOptions, hostname: str, started: Started, process: Process) -> None:
        self.exitcode = 0
        self._options, self._hostname = options, hostname
        self._current = CurrentConfig(started.config)
        self._loop, self._children, self._parent, self._announcements = process
        self._stopping = Stopping(self._children)
        self._services = self._make_services(started.database)
        self._said_ready = False
        self._next_check = 0.0

    def _make_services(self, database: Database) -> Services:
        config, children = self._current.config, self._children
        leases = Leases(database, config, loop=self._loop, children=children, node=self._hostname)
        upkeep = leases.upkeep
        ticking = Ticking(children, runs=config.runs_schedules)
        every = math.inf if database.listens else config.lease / 4
        commands = Commands(self._hostname, self._loop, upkeep, children, every=every)
        commands.enabled = config.answers_commands
        heard = Heard(
            upkeep.renew, upkeep.expect_expiry,
            handle=lambda: self._loop.post(leases.handlers.call),
            interrupt=lambda ended: self._loop.post(lambda: leases.interrupt(ended)),
            schedules=ticking.changed, limits=upkeep.limits_hold, command=commands.look,
        )  # fmt: skip
        notifications = NotificationRouter(database, children, heard)
        notifications.queues = config.queues
        liveness = Liveness(self._options.liveness_file, upkeep, children)
        drain = Drain(self._options, children, leases, self._loop, self._end_drained)
        autoscale = Autoscale(children, leases, self._loop, lambda: self._current.config, self._resize)
        activity = Activity(children)
        return Services(database, leases, notifications, liveness, ticking, drain, commands, activity, autoscale)

    def run(self) -> int:
        """Work until told to stop; return the exit code."""
        try:
            self._begin()
            while self._children.remain:
                self._turn()
            self._warn_of_missing_end()
        finally:
            self._end()
        return self.exitcode

    # The order of beginning and ending

    def _begin(self) -> None:
        """Start the parts, each after those that it uses."""
        config, database = self._current.config, self._services.database
        self._announcements.begins(lambda: banner(config, self._options, self._hostname, facts_of(database)))
        own = [child.pid for child in self._children.present]
        for note in (*config.notes, *start_warnings.of_the_node(database, self._hostname, own)):
            logger.warning("%s", note)
        if self._options.purge:
            purged = queues.purge(database, config.queues)
            logger.warning(
                "purged %s from %s%s",
                counted(purged.deleted, "task"), ", ".join(config.queues), queues.failing_with_them(purged.failing),
            )  # fmt: skip
        database.dispose()  # the services have connections of their own
        self._children.handlers = {
            "hello": self._on_hello,
            "failed": self._on_failed,
            "node_started": lambda child, message: self._services.leases.node_started(),
            "drained": lambda child, message: self._stopping.node_end.drained(child),
            "ready": self._on_ready,
            "sleeping": self._on_sleeping,
            "idle": self._on_idle,
            "rests": self._services.leases.rests,
            "slots": lambda child, message: self._services.leases.resized(child, message["slots"]),
            "recycle": self._on_recycle,
            "ended": lambda child, message: self._services.activity.add(message),
            "bye": said_bye,
        }
        self._services.commands.actions = Actions(
            self._orders(), self._children, self._services.leases, self._services.activity, self._services.autoscale
        ).by_name  # fmt: skip
        self._children.on_exit = self._on_exit
        self._children.begun = True
        self._services.leases.start()
        self._services.notifications.start()
        self._services.liveness.start()
        for number in range(1, config.processes):
            self._children.start(number)

    def _end(self) -> None:
        """Stop in the reverse order; the last tasks of children are rescued before the connection is closed."""
        self._loop.turned = math.inf  # it turns no more; leases of stopping children are renewed
        self._children.end()
        self._services.liveness.stop(5)
        self._services.notifications.stop()
        self._services.leases.stop()
        code, done = self._services.drain.conclude(self._services.database)
        self.exitcode = self.exitcode or code
        self._announcements.done = done
        self._services.database.dispose()

    # The loop

    def _turn(self) -> None:
        """Wait for an event, then do all that is due."""
        self._loop.wait(min(self._next_check, self._children.next_start))
        for number in self._loop.caught():
            self._obey(number)
        self._check()
        self._children.reap()
        self._stopping.node_end.settle(self._children.present)
        if self._children.starts_fail and not self._stopping.begun:
            self._give_up("too many processes in a row have failed to begin")
        self._children.replace()
        self._children.start_due()
        if not self._stopping.begun:
            self._services.drain.turn(time.monotonic())

    def _check(self) -> None:
        now = time.monotonic()
        if now < self._next_check:
            return
        if self._parent.has_gone() and not self._stopping.begun:  # a second order would be a cold stop
            self._obey(signal.SIGTERM)
        next_limit = self._services.leases.check(now)
        self._services.commands.check(now)
        if not self._stopping.begun:
            self._services.autoscale.check(now)
        self._stopping.enforce(now)
        self._children.enforce(now)
        self._services.activity.check()
        self._next_check = min(now + TICK, next_limit)
        if self._services.leases.alive(now):
            self._announcements.alive(now)

    def _end_drained(self, why: str) -> None:
        self._announcements.stopping(why)
        self._stop(why, cold=False, grace=self._current.config.grace)

    def _give_up(self, why: str) -> None:
        logger.critical("%s; giving up", why)
        self.exitcode = 1
        self._announcements.stopping(why)
        self._stop("giving up", cold=True, grace=0)

    def _stop(self, why: str, *, cold: bool, grace: float) -> None:
        begun = self._said_ready or bool(self._children.ready)  # later, its only process may be one that still begins
        together = begun and self._current.config.stops_node
        self._announcements.say(self._stopping.order(why, cold=cold, grace=grace, together=together))

    def _warn_of_missing_end(self) -> None:
        end, needed = self._stopping.node_end, self._said_ready and self._current.config.stops_node
        if (end.expected or needed) and not end.over:
            logger.warning("the shutdown functions of the worker have not run: no process was left that could")

    def _obey(self, number: int) -> None:
        """TERM and INT: stop; another one later, or QUIT: now. HUP: replace the children. USR1: log their stacks.

        USR2 does nothing: Celery's debugger, which a network could reach, is not built.
        TSTP: rest. CONT: claim again; a service manager sends it with each TERM.
        """
        if number == signal.SIGUSR1:
            self._services.leases.log_stacks()
        elif number == signal.SIGUSR2:
            logger.warning("SIGUSR2: there is no remote debugger; SIGUSR1 logs the stacks of all processes")
        elif number in (signal.SIGTSTP, signal.SIGCONT):
            self._rest(quiet=number == signal.SIGTSTP)
        elif number == signal.SIGHUP and not self._parent.terminal_closed:
            logger.info("SIGHUP: replacing all processes")
            self._reload()
        elif number == signal.SIGQUIT or not self._stopping.echoes:
            cold = number == signal.SIGQUIT or self._stopping.begun
            self._announcements.stopping(signal.Signals(number).name)
            self._stop(signal.Signals(number).name, cold=cold, grace=self._current.config.grace)

    def _orders(self) -> Orders:
        return Orders(
            config=lambda: self._current.config,
            stop=self._stop_by_command,
            rest=lambda quiet: self._rest(quiet=quiet),
            reload=self._reload,
            serve=self._serve,
            resize=self._resize,
            tell_events=self._tell_events,
        )

    def _stop_by_command(self, why: str) -> None:
        if not self._stopping.begun:
            self._announcements.stopping(why)
            self._stop(why, cold=False, grace=self._current.config.grace)

    def _reload(self) -> None:
        self._children.reload()
        self._services.ticking.define_again()

    def _serve(self, queues: tuple[str, ...]) -> None:
        """Have the children claim from these queues, and listen for them."""
        self._current.adjust(queues=queues)
        self._services.notifications.serve(queues)
        for child in self._children.ready:
            child.pipe.send("queues", queues=queues)
        logger.info("this worker serves %s from now on", ", ".join(queues) or "no queue")

    def _resize(self, size: int) -> None:
        """Have so many processes of a prefork pool; else have each process change its slots as it works."""
        if self._current.config.pool == "prefork":
            self._current.adjust(processes=size)
            self._children.shape(self._current.config)
            self._children.resize(grace=None)
        else:
            self._current.adjust(slots=size)
            for child in self._children.present:
                child.resize(size)

    def _tell_events(self, on: bool) -> None:
        """Have monitors be told of the tasks of all children, later ones too."""
        self._current.adjust(task_events=on)
        self._services.leases.tell_events(on=on)

    def _rest(self, *, quiet: bool) -> None:
        if self._stopping.begun or not self._services.leases.rest(quiet=quiet):
            return
        if quiet:
            tasks = self._stopping.running
            again = f"kill -CONT {os.getpid()} makes it claim again"
            self._announcements.quiet(f"SIGTSTP: quiet, it claims no more tasks; {tasks}; {again}, TERM stops it")
        else:
            self._announcements.quiet("SIGCONT: it claims tasks again")

    # Messages of children

    def _on_hello(self, child: ChildProcess, message: Message) -> None:
        child.life.reach(State.LOADED)
        told = self._current.adjusted(WorkerConfig.from_dict(message["config"]))
        self._current.take_over(told)
        self._children.shape(self._current.config)
        self._children.resize(grace=self._current.config.grace)
        self._services.notifications.queues = told.queues
        self._services.notifications.update()
        self._services.leases.ask(child, told)

    def _on_failed(self, child: ChildProcess, message: Message) -> None:
        if message["fatal"] and not self._said_ready and not self._stopping.begun:
            self._give_up(message["error"])
        elif not self._stopping.begun:  # of several that begin at once, each fails: the first one has told why
            logger.error("a new process cannot work: %s", message["error"])

    def _on_ready(self, child: ChildProcess, message: Message) -> None:
        self._children.mark_ready(child)
        self._services.notifications.update()
        self._services.leases.handlers.call_if_due()
        self._services.commands.begin(child)
        self._services.ticking.choose()
        config = self._current.config
        if self._current.serves_others:  # they may have changed while it began
            child.pipe.send("queues", queues=config.queues)
        child.resize(config.slots)  # likewise
        if self._said_ready or len(self._children.ready) < config.processes:
            return
        self._said_ready = True
        self._announcements.ready(config.summary(self._hostname, app=self._options.app, database=name_of(config)))
        logger.debug("tasks: %s", ", ".join(config.tasks))
        min(self._children.ready, key=lambda ready: ready.number).pipe.send("worker_ready")  # one signal for the node

    def _on_sleeping(self, child: ChildProcess, message: Message) -> None:
        self._services.notifications.set_sleeping(child, sleeping=message["sleeping"])

    def _on_idle(self, child: ChildProcess, message: Message) -> None:
        self._services.leases.idle(child, idle=message["idle"])

    def _on_recycle(self, child: ChildProcess, message: Message) -> None:
        logger.info("process %d is replaced after %s", child.pid, message["reason"])
        if not child.life.leaving:
            child.stop(None, how="warm", sig=None, node=False)
            self._services.ticking.choose()

    def _on_exit(self, child: ChildProcess, rescue: Rescue | None) -> None:
        self._services.leases.end(child, rescue)
        self._services.ticking.choose()
        self._services.notifications.update()


def run(
    options: WorkerOptions, *, parent_descriptor: int | None = None, tell: Callable[[str], object] | None = None,
    show: Callable[[str], object] | None = None,
) -> int:  # fmt: skip
    """Run a worker in this process until it is told to stop; return its exit code.

    ``tell`` gets the lines about its start and its stop, which are in the log too; ``show`` gets the banner.
    """
    loop, options = Loop(), Quota.provided(options)
    loop.catch(CAUGHT)
    return supervise(
        options, Process(loop, Children(options, loop), Parent(loop, parent_descriptor), Announcements(tell, show))
    )


def supervise(options: WorkerOptions, process: Process) -> int:
    """Run a worker with these objects, which it ends, until its loop has an order to stop; return the exit code."""
    loop, children, parent, announcements = process
    exitcode = 0
    try:
        hostname = node_name(options.hostname)
        started = Startup(loop, children, parent).run()
        exitcode = Supervisor(options, hostname, started, process).run()
    except StoppedEarly:
        announcements.say("told to stop before the start was complete")
    finally:
        children.end()
        loop.close()
        if options.quota is not None:
            os.close(options.quota)
    announcements.stopped()
    return exitcode
