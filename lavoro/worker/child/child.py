"""A child: a fresh interpreter that imports the application, then claims, runs and finishes its own tasks."""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import json
import logging
import math
import os
import signal
import socket
import sys
import threading
import time
import traceback
import uuid
from collections.abc import Iterator
from dataclasses import asdict, replace
from importlib import import_module
from multiprocessing import current_process
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from lavoro import log, serialization, signals, task_log
from lavoro.app import Lavoro
from lavoro.discovery import find_app
from lavoro.exceptions import LavoroError
from lavoro.execution import context, prints
from lavoro.execution.decode import Call, decode
from lavoro.execution.executor import Cancelled, execute
from lavoro.execution.run_settings import RunSettings
from lavoro.protocol import outcome
from lavoro.protocol.failure import release, traceback_of
from lavoro.protocol.ids import task_uuid
from lavoro.protocol.message import Job
from lavoro.protocol.outcome import Outcome
from lavoro.protocol.signing import keyring_of
from lavoro.runtime import forking
from lavoro.runtime.forking import in_each_fork, leave_fork
from lavoro.store import embedded
from lavoro.text.printable import cut, described
from lavoro.worker.child import start_warnings
from lavoro.worker.child.capacity import Capacity
from lavoro.worker.child.claimer import Claimer
from lavoro.worker.child.finisher import Finisher
from lavoro.worker.child.forked import prepare, reason_of
from lavoro.worker.child.heartbeat import Heartbeat
from lavoro.worker.child.import_context import inherited
from lavoro.worker.child.in_flight import InFlight
from lavoro.worker.child.lanes import LaneScanner
from lavoro.worker.child.offers import Offers
from lavoro.worker.child.pools import patched, pool_class
from lavoro.worker.child.prefetched import Relief
from lavoro.worker.child.progress import Progress
from lavoro.worker.child.recycling import RecyclePolicy
from lavoro.worker.child.self_fence import SelfFence
from lavoro.worker.child.sleep import Sleep
from lavoro.worker.child.unhandled import EndHandlers
from lavoro.worker.config import WorkerConfig, WorkerOptions, make_config, node_name
from lavoro.worker.pipe import Message, Pipe
from lavoro.worker.scoreboard import Scoreboard

logger = logging.getLogger("lavoro.worker")

ONE_LINE = 2000
"""Characters of the error for which a process cannot begin."""
CLAIM_PATIENCE = 2.0
"""Seconds that a stop waits for a claim that is under way."""
STORE_PATIENCE = 3.0
"""Seconds of tries to store the last outcomes."""
LATECOMERS = 1.0
"""Seconds between looks for what a claimer that was told to stop may still have brought."""
HEARTBEAT = 2.0
"""Seconds between two `heartbeat_sent`, as in Celery."""


def main(argument: str) -> None:
    """Run a child; ``argument`` is what the supervisor passes it, as JSON."""
    try:
        _main(json.loads(argument))
    except BaseException as error:
        if forking.depth:
            leave_fork(reason_of(error))
        raise


def _main(start: dict[str, Any]) -> None:
    _set_up_signals(start["stacks"])
    prepare([start["pipe"], start["board"], start["stacks"]])
    for name in ("pipe", "board", "stacks"):
        os.set_inheritable(start[name], False)  # none of the business of programs that tasks start
    pipe = Pipe(socket.socket(fileno=start["pipe"]))
    orders = pipe.messages()
    first = next(orders, None)
    if first is None:
        os._exit(0)
    if patched():
        import_module("lavoro.worker.child.pools.loops").prepare()
        import_module("lavoro.worker.child.pools.unfit").refuse()
    wishes = WorkerOptions.from_dict(first)
    sys.argv[:] = wishes.command  # first: the application may read it while it is imported
    current_process().name = f"{start['pool']}-{start['number']}"
    try:
        log.begin(wishes.loglevel, logfile=wishes.logfile, style=wishes.log_style)
        app, plan = _load(wishes)
    except BaseException as error:
        leave_fork(error)
        pipe.send("failed", error=_one_line(error, wishes.app), traceback=traceback_of(error))
        os._exit(1)
    pipe.send("hello", config=asdict(plan))
    Child(app, plan, wishes, pipe, board_descriptor=start["board"], number=start["number"]).run(orders)


def _set_up_signals(stacks: int) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        # The supervisor alone decides, also when a service manager tells everybody. No SIG_IGN: programs that tasks
        # start would inherit that.
        signal.signal(number, lambda *_: None)
    faulthandler.register(signal.SIGUSR1, file=stacks)


def _load(wishes: WorkerOptions) -> tuple[Lavoro, WorkerConfig]:
    """Import the application and everything that defines its tasks."""
    sys.path.insert(0, str(Path.cwd()))
    app = find_app(wishes.app)
    app.set_default()
    if wishes.database:
        app.conf.broker_url = wishes.database
    app.conf.update(wishes.settings)
    app.conf.include = (*app.conf.include, *wishes.include)
    limits = {"task_time_limit": wishes.time_limit, "task_soft_time_limit": wishes.soft_time_limit}
    app.conf.update({name: value for name, value in limits.items() if value is not None})
    if wishes.prefetch_multiplier is not None:
        app.conf.worker_prefetch_multiplier = wishes.prefetch_multiplier
    app.import_modules()
    node = node_name(wishes.hostname)
    signals.celeryd_init.send(
        node, instance=SimpleNamespace(app=app, hostname=node), conf=app.conf, options=wishes.as_dict()
    )  # before the settings are checked: receivers set them by the worker's name
    app.conf.check()
    plan = make_config(app, wishes)
    return app, replace(plan, notes=tuple(start_warnings.of_the_application(app, wishes, plan)))


def _one_line(error: BaseException, app: str) -> str:
    if isinstance(error, LavoroError):
        return cut(str(error), ONE_LINE)
    what = cut(traceback.format_exception_only(error)[-1].strip(), ONE_LINE)
    return f"the application {app!r} could not be loaded: {what} ({_where(error)}; -l debug shows the traceback)"


def _where(error: BaseException) -> str:
    if isinstance(error, SyntaxError):
        return f"{error.filename}, line {error.lineno}"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith("<")]
    return f"{frames[-1].filename}, line {frames[-1].lineno}"


class Child:
    """The running child: its services, and the conversation with its supervisor. It is the sender of worker signals."""

    def __init__(
        self, app: Lavoro, plan: WorkerConfig, wishes: WorkerOptions, pipe: Pipe, *, board_descriptor: int, number: int
    ) -> None:
        self.app, self.wishes, self.pipe, self.number = app, wishes, pipe, number
        self.hostname = ""
        self._plan, self._board_descriptor = plan, board_descriptor
        self._cancelled: set[str] = set()
        self._interrupted: set[str] = set()
        self._worn = False
        self.wear = RecyclePolicy(
            most_tasks=wishes.max_tasks_per_child or app.conf.worker_max_tasks_per_child or 0,
            most_memory=wishes.max_memory_per_child or app.conf.worker_max_memory_per_child or 0,
        )
        self._ran_before: list[uuid.UUID] | None = None
        self._stop: Message | None = None
        self._leave_by = math.inf
        self._heartbeat = 0.0
        self._news = threading.Event()
        self.end_handlers: EndHandlers | None = None
        """There only once it was needed."""

    def run(self, orders: Iterator[Message]) -> None:
        """Wait for the lease, then work until told to stop; never returns."""
        first = next(orders, None)
        if first is None or first["kind"] != "lease":
            os._exit(0)
        try:
            self._begin(first)
        except BaseException as error:
            leave_fork(error)
            logger.debug("the process cannot begin", exc_info=True)
            self.pipe.send("failed", error=_one_line(error, self.wishes.app), traceback=traceback_of(error))
            os._exit(1)
        threading.Thread(target=inherited(), args=(self._obey, orders), name="lavoro-orders", daemon=True).start()
        self.pool.work()
        threading.Event().wait()

    # Beginning

    def _begin(self, lease: Message) -> None:
        """Start everything, in an order in which each finds what it needs."""
        self.hostname = lease["hostname"]
        self._set_up_logging()
        if self.app.conf.database_url is None:  # keeps the server up; the supervisor has logged its folder
            embedded.EmbeddedPostgres.at(self.app.conf.lavoro_data_dir).told = True
        self._make_services(lease)
        context.report_by_id = self._report
        self.guard.start()  # first: from here on nothing may outlive the lease
        signals.worker_init.send(self)
        signals.celeryd_after_setup.send(self.hostname, instance=self, conf=self.app.conf)
        signals.worker_process_init.send(self.hostname)
        for task in self.app.tasks.values():
            task.__settle__()
        self.ticker.start()
        self.finisher.start()
        self.pool.start()
        if self.pool.shares_loop:
            self.relief.start()
        gc.collect()
        gc.freeze()  # the application stays: each full collection would go through all of it, for a tenth of the CPU
        self.pipe.send("ready")
        self.claimer.within = inherited()
        self.claimer.start()  # last: what it claims must find everything else running

    def _set_up_logging(self) -> None:
        conf, wishes = self.app.conf, self.wishes
        log.setup(
            wishes.loglevel, logfile=wishes.logfile, style=wishes.log_style, colorize=conf.worker_log_color,
            hijack_root=conf.worker_hijack_root_logger,
            format=conf.worker_log_format, datefmt=conf.worker_log_datefmt,
            task_format=conf.worker_task_log_format, task_datefmt=conf.worker_task_log_datefmt,
            longest=conf.lavoro_max_log_message,
        )  # fmt: skip
        if conf.worker_redirect_stdouts:
            prints.redirect_stdouts(conf.worker_redirect_stdouts_level)

    def _make_services(self, lease: Message) -> None:
        conf, database = self.app.conf, self.app.database
        self.board = Scoreboard(self._board_descriptor, lease["slots"])
        in_each_fork(self.board.disown)
        self.guard = SelfFence(self.board, self._plan.lease)
        self.ticker = Heartbeat(self.board, self._look)
        self.holding = InFlight(lambda idle: self.pipe.send("idle", idle=idle))
        self.offers = Offers(self.holding, worker_id=lease["worker_id"], slots=lease["slots"])
        self.finisher = Finisher(database, self.holding, worker_id=lease["worker_id"], stored=self._outcomes_stored)
        self.finisher.patience = STORE_PATIENCE
        self.progress = Progress(database, worker_id=lease["worker_id"], longest=conf.lavoro_max_progress_size)
        self.pool = pool_class(lease["pool"])(lease["slots"], self._run, received=self._received)
        self.relief = Relief(
            self.board, self.pool, self.finisher, database, worker_id=lease["worker_id"], offers=self.offers,
            relieved=self._relieved,
        )  # fmt: skip
        self.capacity = Capacity(
            self.pool, self.holding, self.offers,
            prefetch=0 if conf.worker_prefetch_multiplier == 1 else conf.lavoro_prefetch,
        )  # fmt: skip
        sleep = Sleep(
            lambda sleeping: self.pipe.send("rest", resting=sleeping),
            poll_interval=conf.seconds("lavoro_poll_interval") or 1.0,
        )
        scanner = LaneScanner(lease["queues"])
        self.claimer = Claimer(database, self.offers, capacity=self.capacity, scanner=scanner, sleep=sleep)
        self.run_settings = RunSettings(
            self.hostname, accept=frozenset(conf.accept_content), max_result_size=conf.lavoro_max_result_size,
            max_error_size=conf.lavoro_max_error_size, together=lease["slots"], consumer=self,
            strict_results=conf.strict_results,
            limit=self.pool.limit, limits_hard=self.pool.limits_hard, report=self.progress.store,
            patience=(
                conf.seconds("lavoro_unknown_task_delay") or 1.0, conf.seconds("lavoro_unknown_task_delay_max") or 1.0
            ),
            keyring=keyring_of(conf.lavoro_signing_keys, required=conf.lavoro_require_signature),
        )  # fmt: skip

    # Working

    def _report(self, task_id: str, state: str, meta: Any) -> bool:
        """Store a state for the task of that id; return whether this process holds it."""
        job = self.holding.find(task_uuid(task_id))
        if job is not None:
            self.progress.store(job, state, meta)
        return job is not None

    def _received(self, jobs: list[Job]) -> list[Call | None] | None:
        """Tell of the jobs; return them as they were read for that, so that the run need not read them again."""
        if signals.task_received or task_log.receipts.isEnabledFor(logging.INFO):
            return [self._tell_received(job) for job in jobs]
        return None

    def _tell_received(self, job: Job) -> Call | None:
        if (task := self.app.tasks.get(job.name)) is None:
            return None
        try:
            call = decode(job, self.run_settings)
        except Exception:
            return None  # it fails when it is run
        with contextlib.suppress(Exception):  # the repr of an argument may raise
            request = call.request_at_receipt(task, self.run_settings)
            task_log.tell_received(request)
            request.update(name=job.name, task_id=job.task_id, task_name=job.name)
            signals.task_received.send(self, request=request)
        return call

    def _run(self, job: Job, slot: int, call: Call | None) -> None:
        if self._worn:  # a claim that was under way has brought more
            self.finisher.put(outcome.released(job))
            return
        task = self.app.tasks.get(job.name)
        if task is None:
            self.finisher.put(self._unknown(job))
            return
        revoked = bool(self._cancelled) and str(job.id) in self._cancelled
        id = job.id.bytes
        self.board.begin(slot, id, self._deadline(task, job))
        try:
            result = execute(task, job._replace(revoked=True) if revoked else job, self.run_settings, call)
        except BaseException as error:  # an interruption that came a moment too late
            result = _interrupted(job, error)
        finally:
            self.board.end(slot, id)
        if result.job is not job:  # it was marked as revoked; held is what was claimed
            result = result._replace(job=job)
        self.finisher.put(result)
        self.claimer.room_made()
        if self.wear.limited and (reason := self.wear.count()) is not None:
            self._wear_out(reason)
        if self._cancelled:
            self._cancelled.discard(str(job.id))
            self._interrupted.discard(str(job.id))

    def _deadline(self, task: Any, job: Job) -> float:
        """Return when the supervisor is to end this process for this task."""
        hard = task.time_limit
        if job.options is not None and '"time_limit"' in job.options:
            hard = _limit_of(job) or hard
        if not hard:
            return math.inf
        # Where the pool can end the task alone, the supervisor, who ends the process, gives it a second for that.
        return time.monotonic() + float(hard) + (1.0 if self.pool.limits_hard else 0.0)

    def _unknown(self, job: Job) -> Outcome:
        """Another release may know the task: it waits, each time twice as long, visible with the reason."""
        logger.error(
            "received unregistered task %s[%s]; given back: another worker may know it, and this one if it imports"
            " the task's module (option -I, settings include and imports)",
            job.name, job.task_id,
        )  # fmt: skip
        if signals.task_unknown:
            signals.task_unknown.send(self, name=job.name, id=job.task_id, message=job, exc=KeyError(job.name))
        reason = f"worker {self.hostname} knows no task {described(job.name, 500)}"
        return outcome.postponed(job, reason, *self.run_settings.patience)

    def _wear_out(self, reason: str) -> None:
        """Leave for a fresh process."""
        self._worn = True
        self.claimer.stopping = True  # at once: the answer takes a moment
        self._give_back_unstarted()
        self.pipe.send("worn", reason=reason)

    # Orders

    def _obey(self, orders: Iterator[Message]) -> None:
        for order in orders:
            try:
                getattr(self, f"_on_{order['kind']}")(order)
            except Exception:  # whoever caused it, the next order must be heard
                logger.exception("an order could not be obeyed: %s", order)
        self._on_orphaned()

    def _on_wake(self, order: Message) -> None:
        self.claimer.notified(order["what"])

    def _on_assigned(self, order: Message) -> None:
        self.claimer.assigned(uuid.UUID(order["id"]))

    def _on_handle(self, order: Message) -> None:
        """Tasks have ended without their process: call their handlers."""
        if self.end_handlers is None:
            self.end_handlers = EndHandlers(
                self.app.database, order["worker_id"], self.app.tasks, self.run_settings, rested=self._news.set
            )
            self.end_handlers.within = inherited()
            self.end_handlers.start()
        else:
            self.end_handlers.wake()

    def _on_rest(self, order: Message) -> None:
        self.claimer.confirm_sleep(listening=order["listening"])

    def _on_announce(self, order: Message) -> None:
        signals.worker_ready.send(self)

    def _on_cancel(self, order: Message) -> None:
        id = order["id"]
        job = next((job for job in self.holding.jobs() if str(job.id) == id), None)
        if job is None:
            return
        self._cancelled.add(id)
        if order.get("terminate") and id not in self._interrupted:
            self._interrupted.add(id)
            self.pool.interrupt(job.id, Cancelled(order.get("signal")))

    def _on_stop(self, order: Message) -> None:
        """Claim nothing more; leave once nothing runs, or when the time is up. A later order may shorten the time."""
        grace = order["grace"]
        self._leave_by = min(self._leave_by, math.inf if grace is None else time.monotonic() + grace)
        if order["node"] and self.number == 0 and (self._stop is None or not self._stop["node"]):
            signals.worker_shutting_down.send(self.hostname, sig=order["sig"], how=order["how"].title(), exitcode=0)
        begun, self._stop = self._stop is not None, order
        self._news.set()
        if not begun:
            threading.Thread(target=self._leave, name="lavoro-leave", daemon=True).start()

    def _on_orphaned(self) -> None:
        """The supervisor is gone and nobody renews our lease: give back what does not end by half of what is left."""
        logger.error("the supervisor is gone; leaving")
        grace = max(0.0, min(self._plan.grace, self.guard.left / 2))
        self._on_stop({"grace": grace, "how": "warm", "sig": None, "node": False})

    # Leaving

    def _outcomes_stored(self) -> None:
        self.claimer.room_made()
        if self._stop is not None:
            self._news.set()

    def _leave(self) -> None:
        """Stop in this order, then end: whatever still runs must not go on, so there is no waiting for it."""
        self._stop_claiming()
        self._wait_for_tasks()
        self._say_goodbye()
        self._give_back_unstarted()  # what a slow claim has brought since
        if not self.pipe.send("bye"):  # else our supervisor gives it back, when we are gone
            running = set(self.pool.running)
            self.finisher.abandon([job for job in self.holding.jobs() if job.id in running])
        self.finisher.stop(STORE_PATIENCE + 1)
        logging.shutdown()
        _leave_embedded()
        os._exit(0)

    def _stop_claiming(self) -> None:
        if self.end_handlers is not None:
            self.end_handlers.stop(0)
        self.claimer.stop(CLAIM_PATIENCE)
        self._give_back_unstarted()
        self.pool.stop()

    def _give_back_unstarted(self) -> None:
        self._give_back(self.pool.take_back())

    def _give_back(self, jobs: list[Job]) -> None:
        for job in jobs:
            self.finisher.put(outcome.released(job))

    def _wait_for_tasks(self) -> None:
        while True:
            self._news.clear()  # before looking: what ends meanwhile must not be missed
            left = self._leave_by - time.monotonic()
            handling = self.end_handlers is not None and self.end_handlers.busy
            if left <= 0 or not (self.holding.count or handling):
                return
            self._give_back_unstarted()  # the claimer may still have brought something, and the slots have ended
            self._news.wait(min(left, LATECOMERS))

    def _look(self) -> None:
        self._give_back_stuck()
        self.holding.look()
        if signals.heartbeat_sent and self.number == 0:
            self._tell_heartbeat()

    def _tell_heartbeat(self) -> None:
        if (now := time.monotonic()) >= self._heartbeat:
            self._heartbeat = now + HEARTBEAT
            signals.heartbeat_sent.send(self)

    def _give_back_stuck(self) -> None:
        """Release prefetched tasks if no running task has ended since the last tick: others may have room for them.

        They were claimed for the next tenth of a second, which is one tick: the forecast was wrong. Where many run,
        some end in each tick: then what has waited for ten of them goes back.
        """
        overdue = self.pool.take_back_overdue()
        running = self.pool.running if self.pool.waiting else None
        if running and running == self._ran_before:
            self.capacity.prefetch_less()
            self._give_back_unstarted()
        elif overdue:
            self.capacity.prefetch_less()
        self._give_back(overdue)
        self._ran_before = running

    def _relieved(self, jobs: list[Job]) -> None:
        """What was given back while our loop was blocked is ours no longer."""
        self.holding.release(jobs)
        self.capacity.prefetch_less()
        self._outcomes_stored()

    def _say_goodbye(self) -> None:
        running = set(self.pool.running)
        for job in self.holding.jobs():
            if job.id in running:
                logger.warning("%s[%s] did not end in time and goes back to its queue", job.name, job.task_id)
        signals.worker_process_shutdown.send(self.hostname, pid=os.getpid(), exitcode=0)
        if self.number == 0 and self._stop is not None and self._stop["node"]:
            signals.worker_shutdown.send(self)


def _interrupted(job: Job, error: BaseException) -> Outcome:
    release(error)
    text = serialization.dumps_exception(error)
    return outcome.revoked(job, text) if isinstance(error, Cancelled) else outcome.failed(job, text, None)


def _limit_of(job: Job) -> float | None:
    """Return the call's own hard limit; None if it has none that makes sense, which the task itself will tell."""
    with contextlib.suppress(ValueError, TypeError, KeyError, OverflowError):
        limit = float(job.read_options()["time_limit"])
        return limit if limit > 0 else None
    return None


def _leave_embedded() -> None:
    for handle in list(embedded.EmbeddedPostgres._open.values()):
        handle.leave()
