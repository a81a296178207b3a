"""A child: a fresh interpreter that imports the application, then claims, runs and finishes its own tasks."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import sys
import threading
import time
import traceback
from dataclasses import asdict
from typing import Any

from lavoro import log, outcome, signals
from lavoro.app import Lavoro
from lavoro.errors import LavoroError
from lavoro.executor import Cancelled, Node, execute
from lavoro.loading import find_app
from lavoro.message import Job
from lavoro.service import Service
from lavoro.store import embedded
from lavoro.worker.board import Board
from lavoro.worker.claimer import Claimer
from lavoro.worker.finisher import Finisher
from lavoro.worker.holding import Holding
from lavoro.worker.pipe import Pipe
from lavoro.worker.plan import Wishes, make_plan
from lavoro.worker.pools import pool_class

logger = logging.getLogger("lavoro.worker")

TICK = 0.1
FOREVER = float("inf")


def main(argument: str) -> None:
    """Run a child; ``argument`` is what the supervisor passes it, as JSON."""
    start = json.loads(argument)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        # The supervisor alone decides, also when a terminal tells everybody. No SIG_IGN: programs that tasks start
        # would inherit that.
        signal.signal(number, lambda *_: None)
    pipe = Pipe(socket.socket(fileno=start["pipe"]))
    try:
        sys.path.insert(0, os.getcwd())
        wishes = Wishes(**start["wishes"])
        app = find_app(wishes.app)
        _configure(app, wishes)
        pipe.send("hello", plan=asdict(make_plan(app, wishes)))
    except BaseException as error:
        pipe.send("failed", error=_one_line(error), traceback=traceback.format_exc())
        os._exit(1)
    Child(app, wishes, pipe, board_descriptor=start["board"], number=start["number"]).run()


def _configure(app: Lavoro, wishes: Wishes) -> None:
    app.set_default()
    if wishes.database:
        app.conf.broker_url = wishes.database
    app.conf.include = (*app.conf.include, *wishes.include)
    limits = {"task_time_limit": wishes.time_limit, "task_soft_time_limit": wishes.soft_time_limit}
    app.conf.update({name: value for name, value in limits.items() if value is not None})
    app.import_modules()
    app.conf.check()


def _one_line(error: BaseException) -> str:
    if isinstance(error, LavoroError):
        return str(error)
    return f"{type(error).__name__}: {error}"


class Child:
    """The running child: its services, and the conversation with its supervisor."""

    def __init__(self, app: Lavoro, wishes: Wishes, pipe: Pipe, *, board_descriptor: int, number: int) -> None:
        self.app, self.wishes, self.pipe, self.number = app, wishes, pipe, number
        self._board_descriptor = board_descriptor
        self.hostname = ""
        self._cancelled: set[str] = set()
        self._stopping = threading.Event()
        self._started = 0

    def run(self) -> None:
        """Wait for the lease, work until told to stop, leave."""
        orders = self.pipe.messages()
        lease = next((order for order in orders if order["kind"] == "lease"), None)
        if lease is None:
            os._exit(0)
        self._begin(lease)
        threading.Thread(target=self._listen, args=(orders,), name="lavoro-orders", daemon=True).start()
        self._serve()
        self._leave()

    # Beginning, in this order

    def _begin(self, lease: dict[str, Any]) -> None:
        self.hostname = lease["hostname"]
        self._set_up_logging()
        if self.number == 0:
            signals.worker_init.send(self)
        signals.worker_process_init.send(None)
        if self.app.conf.database_url is None:
            embedded.EmbeddedPostgres.at(self.app.conf.lavoro_data_folder)  # a share in it, before the first claim
        for task in self.app.tasks.values():
            task.settle()
        self._make_services(lease)
        self.ticker.start()
        self.finisher.start()
        self.pool.start()
        self.claimer.start()  # last: what it claims must find everything else running
        if self.number == 0:
            signals.worker_ready.send(self)
        self.pipe.send("ready")

    def _set_up_logging(self) -> None:
        conf, wishes = self.app.conf, self.wishes
        threading.current_thread().name = f"{wishes.pool or conf.worker_pool}-{self.number}"
        log.setup(
            wishes.loglevel, logfile=wishes.logfile, style=wishes.log_style, colorize=conf.worker_log_color,
            hijack_root=conf.worker_hijack_root_logger,
        )  # fmt: skip
        if conf.worker_redirect_stdouts and wishes.logfile:
            log.redirect_stdouts(conf.worker_redirect_stdouts_level)

    def _make_services(self, lease: dict[str, Any]) -> None:
        conf, database = self.app.conf, self.app.database
        self.board = Board(self._board_descriptor, lease["slots"])
        self.holding = Holding()
        self.finisher = Finisher(database, self.holding, worker_id=lease["worker_id"], stored=self._outcomes_stored)
        self.pool = pool_class(lease["pool"])(lease["slots"], self._run)
        self.claimer = Claimer(
            database, self.pool, self.holding, worker_id=lease["worker_id"], queues=lease["queues"],
            prefetch=conf.lavoro_prefetch, poll_interval=conf.lavoro_poll_interval,
            rest=lambda resting: self.pipe.send("rest", resting=resting),
        )  # fmt: skip
        self.node = Node(
            self.hostname, accept=frozenset(conf.accept_content), max_result_size=conf.lavoro_max_result_size,
            limit=self.pool.limit, limits_hard=self.pool.limits_hard, report=self.finisher.store_progress,
        )  # fmt: skip
        self.ticker = Ticker(self.board)

    # Working

    def _serve(self) -> None:
        """Stay until told to stop; the solo pool works here, in the main thread."""
        work = getattr(self.pool, "work", None)
        if work is not None:
            work()
        self._stopping.wait()

    def _run(self, job: Job, slot: int) -> None:
        task = self.app.tasks.get(job.name)
        if task is None:
            self.finisher.put(self._unknown(job))
            return
        if self._cancelled and str(job.id) in self._cancelled:
            job = job._replace(revoked=True)
        self.board.begin(slot, job.id.bytes, self._deadline(task, job))
        try:
            result = execute(task, job, self.node)
        finally:
            self.board.end(slot)
        self.finisher.put(result)
        if self.pool.waiting == 0:
            self.claimer.wake()
        self._count_start()

    def _deadline(self, task: Any, job: Job) -> float:
        hard = task.time_limit
        if job.options is not None and '"time_limit"' in job.options:
            hard = job.read_options().get("time_limit") or hard
        if not hard:
            return FOREVER
        # Where the pool can end the task alone, the supervisor, who ends the process, gives it a second for that.
        return time.monotonic() + hard + (1.0 if self.pool.limits_hard else 0.0)

    def _unknown(self, job: Job) -> outcome.Outcome:
        """Another release may know the task: it waits, each time twice as long, visible with the reason."""
        conf = self.app.conf
        logger.error("received unregistered task %s[%s]; given back: another worker may know it", job.name, job.id)
        if signals.task_unknown:
            signals.task_unknown.send(self, name=job.name, id=str(job.id), message=job, exc=KeyError(job.name))
        reason = f"worker {self.hostname} knows no task {job.name!r}"
        return outcome.postponed(job, reason, conf.lavoro_unknown_task_delay, conf.lavoro_unknown_task_delay_max)

    def _count_start(self) -> None:
        self._started += 1
        limit = self.wishes.max_tasks_per_child or self.app.conf.worker_max_tasks_per_child
        if limit and self._started == limit:
            self.pipe.send("worn", reason=f"{limit} tasks")

    def _outcomes_stored(self) -> None:
        self.claimer.wake()

    # Orders

    def _listen(self, orders: Any) -> None:
        for order in orders:
            getattr(self, f"_on_{order['kind']}")(order)
        self._on_stop({"grace": 0.0})  # the supervisor is gone: nobody renews our lease

    def _on_wake(self, order: dict[str, Any]) -> None:
        self.claimer.came_back() if order.get("older") else self.claimer.wake()

    def _on_rest(self, order: dict[str, Any]) -> None:
        self.claimer.confirm_rest()

    def _on_cancel(self, order: dict[str, Any]) -> None:
        self._cancelled.add(order["id"])
        job = next((job for job in self.holding.jobs() if str(job.id) == order["id"]), None)
        if job is not None and order.get("terminate"):
            self.pool.interrupt(job.id, Cancelled(order.get("signal")))

    def _on_stop(self, order: dict[str, Any]) -> None:
        if self._stopping.is_set():
            return
        if self.number == 0:
            signals.worker_shutting_down.send(self.hostname, sig=order.get("sig"), how=order.get("how"), exitcode=0)
        self._grace = order["grace"]
        self.claimer.stop()
        for job in self.pool.take_back():
            self.finisher.put(outcome.released(job))
        self.pool.stop()
        self._stopping.set()

    def _leave(self) -> None:
        """Wait for what runs, give back what does not end in time, say goodbye."""
        self.holding.empty.wait(self._grace)
        rest = self.holding.jobs()
        self.finisher.abandon(rest)
        for job in rest:
            logger.warning("%s[%s] did not end in time and is given back", job.name, job.id)
        self.finisher.stop(self.finisher.patience + 1)
        signals.worker_process_shutdown.send(None, pid=os.getpid(), exitcode=0)
        if self.number == 0:
            signals.worker_shutdown.send(self)
        self.pipe.send("bye")
        logging.shutdown()
        _leave_embedded()
        os._exit(0)  # a task that still runs must not keep the process


class Ticker(Service):
    """Shows the supervisor that this child's loop turns."""

    name = "ticker"

    def __init__(self, board: Board) -> None:
        super().__init__()
        self._board = board

    def step(self) -> float:
        """Leave a mark."""
        self._board.tick()
        return TICK


def _leave_embedded() -> None:
    for handle in list(embedded.EmbeddedPostgres._open.values()):
        handle.leave()
