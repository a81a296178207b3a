"""A child: a fresh interpreter that imports the application, then claims, runs and finishes its own tasks."""

from __future__ import annotations

import faulthandler
import gc
import json
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from functools import partial
from importlib import import_module
from multiprocessing import current_process
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from lavoro import log, signals
from lavoro.app import Lavoro
from lavoro.beat.choosing import own_of
from lavoro.beat.service import Service
from lavoro.canvas import continuation
from lavoro.discovery import find_app
from lavoro.exceptions import LavoroError
from lavoro.execution import context, prints
from lavoro.execution.run_settings import RunSettings
from lavoro.protocol.failure import traceback_of
from lavoro.protocol.ids import task_uuid
from lavoro.protocol.signing import keyring_of
from lavoro.runtime import forking
from lavoro.runtime.forking import detach, in_each_fork, leave_fork
from lavoro.runtime.native import patched
from lavoro.store import embedded
from lavoro.text.failing import failure
from lavoro.text.printable import cut
from lavoro.worker.child import gathering, start_warnings
from lavoro.worker.child.capacity import Capacity
from lavoro.worker.child.claimer import Claimer
from lavoro.worker.child.finisher import Finisher
from lavoro.worker.child.fleet import ToldToStop
from lavoro.worker.child.forked import prepare, reason_of
from lavoro.worker.child.heartbeat import Heartbeat
from lavoro.worker.child.hooks import ChildHooks, StartupFailed
from lavoro.worker.child.import_context import inherited
from lavoro.worker.child.in_flight import InFlight
from lavoro.worker.child.lanes import LaneScanner
from lavoro.worker.child.leaving import Leaving, end_process
from lavoro.worker.child.offers import Offers
from lavoro.worker.child.orders import obey
from lavoro.worker.child.parts import Parts
from lavoro.worker.child.pools import pool_class
from lavoro.worker.child.pools.base import Pool
from lavoro.worker.child.prefetched import Prefetched
from lavoro.worker.child.progress import Progress
from lavoro.worker.child.recycling import RecyclePolicy
from lavoro.worker.child.runner import TaskRunner
from lavoro.worker.child.self_fence import SelfFence
from lavoro.worker.child.sleep import Sleep
from lavoro.worker.child.slots import Slots
from lavoro.worker.child.successors import Successors
from lavoro.worker.child.tally import Tally
from lavoro.worker.child.unhandled import EndHandlers
from lavoro.worker.config import WorkerConfig, WorkerOptions, make_config, node_name
from lavoro.worker.pipe import Message, Pipe
from lavoro.worker.quota import Quota
from lavoro.worker.scoreboard import Scoreboard

logger = logging.getLogger("lavoro.worker")

ONE_LINE = 2000
"""Most characters of the error that keeps a process from starting."""


def main(argument: str) -> None:
    """Run a child; ``argument`` is what the supervisor passes it, as JSON."""
    gc.freeze()
    gc.enable()
    try:
        _main(json.loads(argument))
    except BaseException as error:
        if forking.depth:
            leave_fork(reason_of(error))
        raise


def _main(start: dict[str, Any]) -> None:
    _set_up_signals(start["stacks"])
    prepare([start["pipe"], start["scoreboard"], start["stacks"]])
    for name in ("pipe", "scoreboard", "stacks"):
        os.set_inheritable(start[name], False)  # programs that tasks start must not inherit them
    pipe = Pipe(socket.socket(fileno=start["pipe"]))
    orders = pipe.messages()
    first = next(orders, None)
    if first is None:
        os._exit(0)
    if patched():
        import_module("lavoro.worker.child.pools.loops").prepare()
        import_module("lavoro.worker.child.pools.unfit").refuse()
    options = WorkerOptions.from_dict(first)
    if options.quota is not None:
        os.set_inheritable(options.quota, False)
        in_each_fork(partial(detach, options.quota))
    sys.argv[:] = options.command  # first: the application may read it while it is imported
    current_process().name = f"{start['pool']}-{start['number']}"
    try:
        log.begin(options.loglevel, logfile=options.logfile, style=options.log_style)
        app, config = _load(options)
    except BaseException as error:
        leave_fork(error)
        pipe.send("failed", error=_one_line(error, options.app), traceback=traceback_of(error), fatal=False)
        os._exit(1)
    pipe.send("hello", config=asdict(config))
    Child(app, config, options, pipe, start).run(orders)
    threading.Event().wait()


def _set_up_signals(stacks: int) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        # The supervisor alone acts on them, even if a service manager signals every process. Not SIG_IGN: programs that
        # tasks start would inherit it.
        signal.signal(number, lambda *_: None)
    faulthandler.register(signal.SIGUSR1, file=stacks)


def _load(options: WorkerOptions) -> tuple[Lavoro, WorkerConfig]:
    """Import the application and everything that defines its tasks."""
    sys.path.insert(0, str(Path.cwd()))
    app = find_app(options.app)
    app.set_default()
    config = configure(app, options)
    return app, replace(config, notes=tuple(start_warnings.of_the_application(app, options, config)))


def configure(app: Lavoro, options: WorkerOptions) -> WorkerConfig:
    """Give an application the settings of the command line, have its tasks defined, and return the configuration."""
    if options.database:
        app.conf.broker_url = options.database
    app.conf.update(options.settings)
    app.conf.include = (*app.conf.include, *options.include)
    limits = {"task_time_limit": options.time_limit, "task_soft_time_limit": options.soft_time_limit}
    app.conf.update({name: value for name, value in limits.items() if value is not None})
    if options.prefetch_multiplier is not None:
        app.conf.worker_prefetch_multiplier = options.prefetch_multiplier
    if options.scheduler is not None:
        app.conf.beat_scheduler = options.scheduler
    app.import_modules()
    node = node_name(options.hostname)
    signals.celeryd_init.send(
        node, instance=SimpleNamespace(app=app, hostname=node), conf=app.conf, options=options.as_dict()
    )  # before the settings are checked: receivers set them by the worker's name
    app.conf.check()
    config = make_config(app, options)
    if config.runs_schedules:
        own_of(app)  # raises for a class that cannot be imported
    return config


def _one_line(error: BaseException, app: str) -> str:
    if isinstance(error, LavoroError):
        return cut(str(error), ONE_LINE)
    return f"the application {app!r} could not be loaded: {failure(error)[:-1]}; -l debug shows the traceback)"


class Child:
    """The running child: its parts, and the pipe to its supervisor. It is the sender of worker signals.

    It makes its process a worker's, and ends it; a child of threads (`lavoro.testing`) does neither.
    """

    def __init__(
        self, app: Lavoro, config: WorkerConfig, options: WorkerOptions, pipe: Pipe, start: dict[str, Any]
    ) -> None:
        self.app, self.options, self.pipe, self.number = app, options, pipe, start["number"]
        self.hostname = ""
        self.leaving: Leaving | None = None
        self._config, self._scoreboard = config, start["scoreboard"]

    def run(self, orders: Iterator[Message]) -> None:
        """Wait for the lease, then begin to work, until told to stop."""
        first = next(orders, None)
        if first is None or first["kind"] != "lease":
            self._give_up(0)
            return
        try:
            parts = self._begin(first)
        except ToldToStop:
            self.pipe.send("bye")
            self._give_up(0)
            return
        except BaseException as error:
            leave_fork(error)
            logger.debug("the process cannot begin", exc_info=True)
            self._failed(error)
            self._give_up(1)
            return
        self.leaving = Leaving(parts, self.pipe, self._end, number=self.number, grace=self._config.grace)
        obeying = threading.Thread(
            target=inherited(), args=(obey, orders, parts, self.leaving), name="lavoro-orders", daemon=True
        )
        obeying.start()
        parts.pool.work()

    # The process

    def _failed(self, error: BaseException) -> None:
        """Tell the supervisor why the process cannot begin, and whether another one would not either."""
        words, fatal = _one_line(error, self.options.app), isinstance(error, StartupFailed)
        self.pipe.send("failed", error=words, traceback=traceback_of(error), fatal=fatal)

    def _give_up(self, code: int) -> None:
        """End the process before it has begun to work."""
        os._exit(code)

    def _end(self, last_act: Callable[[], object]) -> None:
        """End the process once its parts are stopped."""
        end_process(last_act)

    def _prepare(self) -> None:
        """Make the process a worker's, before there are parts."""
        self._set_up_logging()
        if self.app.conf.database_url is None:  # keeps the server running; the supervisor has logged its folder
            embedded.EmbeddedPostgres.at(self.app.conf.lavoro_data_dir).told = True

    def _guard(self, parts: Parts) -> None:
        """Take the states of tasks in, and have the process end with its lease, before any task runs."""
        context.report_by_id = partial(report_by_id, parts)
        parts.self_fence.start()

    def _settle(self) -> None:
        """Take what the application has made out of collections: full ones would cost a tenth of the CPU."""
        gc.collect()
        gc.freeze()

    def _make_pool(self, lease: Message, runner: TaskRunner) -> Pool:
        return pool_class(lease["pool"])(lease["slots"], runner.run, received=runner.receive)

    # Beginning

    def _begin(self, lease: Message) -> Parts:
        """Start the parts, each after those that it uses."""
        self.hostname = lease["hostname"]
        self._prepare()
        parts = self._make_parts(lease)
        self._guard(parts)
        signals.worker_init.send(self)
        signals.celeryd_after_setup.send(self.hostname, instance=self, conf=self.app.conf)
        signals.worker_process_init.send(self.hostname)
        parts.hooks.start(lease["worker_id"], node=lease["starts_node"])
        for task in self.app.tasks.values():
            task.__settle__()
        parts.heartbeat.start()
        parts.finisher.start()
        parts.pool.start()
        if parts.pool.shares_loop:
            parts.prefetched.watch(parts.scoreboard)
        self._settle()
        self.pipe.send("ready")
        parts.claimer.within = inherited()
        parts.claimer.start()  # last: the tasks that it claims need all other parts
        return parts

    def _set_up_logging(self) -> None:
        conf, options = self.app.conf, self.options
        log.setup(
            options.loglevel, logfile=options.logfile, style=options.log_style, colorize=conf.worker_log_color,
            hijack_root=conf.worker_hijack_root_logger,
            format=conf.worker_log_format, datefmt=conf.worker_log_datefmt,
            task_format=conf.worker_task_log_format, task_datefmt=conf.worker_task_log_datefmt,
            longest=conf.lavoro_max_log_message,
        )  # fmt: skip
        if conf.worker_redirect_stdouts:
            prints.redirect_stdouts(conf.worker_redirect_stdouts_level)

    def _make_parts(self, lease: Message) -> Parts:
        conf, database, worker_id, slots = self.app.conf, self.app.database, lease["worker_id"], lease["slots"]
        scoreboard = Scoreboard(self._scoreboard, slots)
        in_each_fork(scoreboard.disown)
        quota = None if self.options.quota is None else Quota(self.options.quota)
        in_flight = InFlight(lambda idle: self.pipe.send("idle", idle=idle), soon=self.options.drain)
        offers = Offers(in_flight, worker_id=worker_id, slots=slots)
        finisher = Finisher(database, in_flight, worker_id=worker_id)
        progress = Progress(database, worker_id=worker_id, longest=conf.lavoro_max_progress_size)
        runner = TaskRunner(self.app.tasks, scoreboard, finisher, self._recycle_policy(), quota)
        pool = self._make_pool(lease, runner)
        capacity = Capacity(
            pool, in_flight, offers, prefetch=0 if conf.worker_prefetch_multiplier == 1 else conf.lavoro_prefetch
        )
        claimer = Claimer(
            database, offers, capacity=capacity, scanner=LaneScanner(lease["queues"]),
            sleep=Sleep(
                lambda sleeping: self.pipe.send("sleeping", sleeping=sleeping),
                poll_interval=conf.seconds("lavoro_poll_interval") or 1.0,
            ),
        )  # fmt: skip
        settings = self._run_settings(pool, progress)
        restraint, end_handlers = capacity.restraint, EndHandlers(database, worker_id, self.app.tasks, settings)
        schedules = Service(self.app, scheduler_cls=conf.beat_scheduler, hostname=self.hostname)
        restraint.quota, restraint.busy = quota, lambda: end_handlers.busy or schedules.ticker.overdue
        restraint.tell = lambda order, done: self.pipe.send("rests", order=order, done=done)
        restraint.rest(lease["rest"])
        prefetched = Prefetched(capacity, finisher, offers, database)
        finisher.stored = pool.room_made = end_handlers.done = schedules.ticker.done = claimer.room_made
        successors = Successors(claimer, in_flight, worker_id=worker_id)
        finisher.settle_alone, finisher.tell = successors.settle, successors.tell
        tally = Tally(lambda ended, seconds: self.pipe.send("ended", ended=ended, seconds=seconds))
        finisher.count = tally.add
        resizing = Slots(pool, scoreboard, offers, claimer, lambda present: self.pipe.send("slots", slots=present))
        runner.settings, runner.recycle = settings, partial(self._recycle, claimer, prefetched)
        return Parts(
            settings, scoreboard, in_flight, finisher, runner, pool, prefetched, claimer, progress,
            self_fence=SelfFence(scoreboard, self._config.lease),
            heartbeat=Heartbeat(
                scoreboard, [prefetched.release_stuck, in_flight.check_idle, tally.check, resizing.check],
                sender=self if self.number == 0 else None,
            ),
            end_handlers=end_handlers,
            schedules=schedules,
            hooks=ChildHooks(self.app, self.pipe),
            tally=tally,
            slots=resizing,
        )  # fmt: skip

    def _recycle_policy(self) -> RecyclePolicy:
        conf, options = self.app.conf, self.options
        return RecyclePolicy(
            most_tasks=options.max_tasks_per_child or conf.worker_max_tasks_per_child or 0,
            most_memory=options.max_memory_per_child or conf.worker_max_memory_per_child or 0,
        )

    def _run_settings(self, pool: Pool, progress: Progress) -> RunSettings:
        conf = self.app.conf
        return RunSettings(
            self.hostname, accept=frozenset(conf.accept_content), max_result_size=conf.lavoro_max_result_size,
            max_error_size=conf.lavoro_max_error_size, together=pool.slots, consumer=self,
            strict_results=conf.strict_results,
            limit=pool.limit, limits_hard=pool.limits_hard, report=progress.store,
            unknown_task_delay=(
                conf.seconds("lavoro_unknown_task_delay") or 1.0, conf.seconds("lavoro_unknown_task_delay_max") or 1.0
            ),
            follow=partial(continuation.follow, self.app),
            gather=gathering.reader(self.app.database, frozenset(conf.accept_content), conf.lavoro_max_gathered),
            keyring=keyring_of(conf.lavoro_signing_keys, required=conf.lavoro_require_signature),
        )  # fmt: skip

    def _recycle(self, claimer: Claimer, prefetched: Prefetched, reason: str) -> None:
        """Claim nothing more, and ask the supervisor for a fresh process."""
        claimer.stopping = True  # now: the order to stop takes a moment
        prefetched.release()
        self.pipe.send("recycle", reason=reason)


def report_by_id(parts: Parts, task_id: str, state: str, meta: Any) -> bool:
    """Store a state for the task of that id; return whether it is in flight here."""
    job = parts.in_flight.find(task_uuid(task_id))
    if job is not None:
        parts.progress.store(job, state, meta)
    return job is not None
