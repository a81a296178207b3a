"""`app.control.inspect()`: questions to the workers, most of which rows of the database answer."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from lavoro.control.sending import Answer, Sending, chosen
from lavoro.runtime.importing import collecting_nothing
from lavoro.store import commands
from lavoro.store.commands import InFlight, Listed, Process, Scheduled

ByNode = dict[str, Any] | None
TIMER = 6
"""The priority of a task for later in Celery's timer; that of the task is in its ``delivery_info``."""
MOST_SCHEDULED = 10_000
"""Tasks for later that `scheduled` lists at most, the next first: there may be millions, and each has its arguments."""


class Inspect:
    """Questions to all workers, or to those of a ``destination`` or ``pattern``.

    Each method returns ``{node: answer}``, or None when no node lives; for a destination that is one name, the answer
    alone. What rows tell needs no worker that answers: it is complete, and as of one moment.
    """

    app: Any = None

    def __init__(
        self, destination: Sequence[str] | str | None = None, timeout: float = 1.0,
        callback: Callable[[Answer], object] | None = None, connection: Any = None, app: Any = None,
        limit: int | None = None, pattern: str | None = None, matcher: str | None = None,
    ) -> None:  # fmt: skip
        self.app = app or self.app
        self.destination, self.timeout, self.callback = destination, timeout, callback
        self.limit, self.pattern, self.matcher = limit, pattern, matcher

    # From rows

    def active(self, safe: bool | None = None) -> ByNode:
        """List the tasks that run; ``safe`` shows their arguments as text."""
        return self._in_flight(lambda task: task.active, safe=bool(safe))

    def reserved(self, safe: bool | None = None) -> ByNode:
        """List the tasks that a worker has claimed and not begun: those of the next tenth of a second."""
        return self._in_flight(lambda task: not task.active, safe=bool(safe))

    def scheduled(self, safe: bool | None = None) -> ByNode:
        """List tasks for later: each under one of the nodes that serve its queue, the next first, at most 10,000."""
        with self.app.database.tx() as tx:
            nodes, later = commands.nodes(tx), commands.scheduled(tx, most=MOST_SCHEDULED)
        return self._by_node(nodes, ((each.task.node, _scheduled_info(each, safe=bool(safe))) for each in later))

    def revoked(self) -> ByNode:
        """List the ids of tasks that must not start; all nodes know the same."""
        with self.app.database.tx() as tx:
            nodes, ids = commands.nodes(tx), commands.revoked(tx)
        return self._shaped({node: list(ids) for node in nodes})

    def registered(self, *taskinfoitems: str) -> ByNode:
        """List the tasks that workers know; with names of attributes, those of each task too."""
        if taskinfoitems:
            return self._request("registered", taskinfoitems=list(taskinfoitems))
        found = self._processes()
        return self._shaped({process.node: list(process.tasks) for process in reversed(found)})

    registered_tasks = registered

    def active_queues(self) -> ByNode:
        """List the queues that workers serve, in Celery's form."""
        found = self._processes()
        return self._shaped({p.node: [_queue_info(queue) for queue in p.queues] for p in reversed(found)})

    def query_task(self, *ids: str | Sequence[str]) -> ByNode:
        """Return ``{node: {id: [state, info]}}`` for tasks that workers have; state: active, reserved or scheduled."""
        wanted = {id for each in ids for id in ([each] if isinstance(each, str) else each)}
        with self.app.database.tx() as tx:
            nodes, flying = commands.in_flight(tx)
            later = commands.scheduled(tx, most=MOST_SCHEDULED)
        answers: dict[str, dict[str, Any]] = {node: {} for node in nodes}
        for each in flying:
            if _id_of(each.task) in wanted:
                answers[each.task.node][_id_of(each.task)] = ["active" if each.active else "reserved", _info(each)]
        for waiting in later:
            if _id_of(waiting.task) in wanted:
                info = _scheduled_info(waiting)["request"]
                answers.setdefault(waiting.task.node, {})[_id_of(waiting.task)] = ["scheduled", info]
        return self._shaped(answers)

    def clock(self) -> ByNode:
        """Return the time in microseconds: there is no logical clock, the database's rows have times."""
        found = self._processes()
        return self._shaped({p.node: {"clock": time.time_ns() // 1000} for p in found})

    # From workers

    def ping(self, destination: Sequence[str] | None = None) -> ByNode:
        """Ask which workers answer: ``{node: {"ok": "pong"}}``."""
        if destination:
            self.destination = destination
        return self._request("ping")

    def stats(self) -> ByNode:
        """Return what workers have done, and how: tasks by name, pool, process ids, uptime, use of the system."""
        return self._request("stats")

    def conf(self, with_defaults: bool = False) -> ByNode:
        """Return the settings of workers, without secrets."""
        return self._request("conf", with_defaults=with_defaults)

    def report(self) -> ByNode:
        """Return versions and settings, for a report of a fault."""
        return self._request("report")

    def memsample(self) -> ByNode:
        """Return the resident memory of workers, such as ``"44.3MB"``."""
        return self._request("memsample")

    def hello(self, from_node: str, revoked: Any = None) -> ByNode:
        """Return what Celery's workers tell each other when they start."""
        return self._request("hello", from_node=from_node)

    def memdump(self, samples: int = 10) -> ByNode:
        """Return the last samples of ``memsample``."""
        return self._request("memdump", samples=samples)

    def objgraph(self, type: str = "Request", n: int = 200, max_depth: int = 10) -> ByNode:
        """Have workers draw a graph of their objects; the workers need the package objgraph."""
        return self._request("objgraph", num=n, max_depth=max_depth, type=type)

    def each(self, reply: Any) -> list[Answer]:
        """Return this reply for each live node that is asked, to something that rows have done."""
        return self._replies(dict.fromkeys(self._nodes(), reply))

    # How

    def _nodes(self) -> list[str]:
        with self.app.database.tx() as tx:
            return commands.nodes(tx)

    def _processes(self) -> list[Process]:
        with self.app.database.tx() as tx:
            return commands.processes(tx)

    def _in_flight(self, wanted: Callable[[InFlight], bool], *, safe: bool) -> ByNode:
        with collecting_nothing():  # searches of ten thousand new objects for garbage would double the time
            with self.app.database.tx() as tx:
                nodes, tasks = commands.in_flight(tx)
            return self._by_node(nodes, ((each.task.node, _info(each, safe=safe)) for each in tasks if wanted(each)))

    def _by_node(self, nodes: Iterable[str], items: Iterable[tuple[str, Any]]) -> ByNode:
        answers: dict[str, list[Any]] = {node: [] for node in nodes}
        for node, item in items:
            answers.setdefault(node, []).append(item)
        return self._shaped(answers)

    def _shaped(self, answers: Mapping[str, Any]) -> ByNode:
        """Return the answers of the nodes that are asked, in Celery's form."""
        return self._prepare(self._replies(answers))

    def _replies(self, answers: Mapping[str, Any]) -> list[Answer]:
        nodes = chosen(sorted(answers), destination=self.destination, pattern=self.pattern, matcher=self.matcher)
        replies = [{node: answers[node]} for node in nodes[: self.limit]]
        for reply in replies if self.callback is not None else ():
            self.callback(reply)  # type: ignore[misc]
        return replies

    def _request(self, command: str, **arguments: Any) -> ByNode:
        """Ask a question of one's own; Celery's subclasses call this."""
        sending = Sending(self.app.database, command, arguments)
        sending.send(destination=self.destination, pattern=self.pattern, matcher=self.matcher, expires=self.timeout)
        return self._prepare(sending.replies(timeout=self.timeout, limit=self.limit, told=self.callback))

    def _prepare(self, replies: list[Answer]) -> ByNode:
        if not replies:
            return None
        by_node = {node: value for reply in replies for node, value in reply.items()}
        return by_node.get(self.destination) if isinstance(self.destination, str) else by_node


def _id_of(task: Listed) -> str:
    return task.task_id or str(task.id)


def _info(each: InFlight, *, safe: bool = False) -> dict[str, Any]:
    """Return a claimed task in Celery's form."""
    info = _waiting(each.task, safe=safe)
    if each.active:
        info["time_start"], info["acknowledged"], info["worker_pid"] = each.started, True, each.pid
    return info


def _scheduled_info(each: Scheduled, *, safe: bool = False) -> dict[str, Any]:
    eta = each.due.isoformat(timespec="microseconds")
    return {"eta": eta, "priority": TIMER, "request": _waiting(each.task, safe=safe)}


def _waiting(task: Listed, *, safe: bool) -> dict[str, Any]:
    """Return a task that has not begun; one object for all, as there may be ten thousand."""
    args, kwargs = json.loads(task.args) if task.args else [], json.loads(task.kwargs) if task.kwargs else {}
    return {
        "id": _id_of(task),
        "name": task.name,
        "args": repr(tuple(args)) if safe else args,
        "kwargs": repr(kwargs) if safe else kwargs,
        "type": task.name,
        "hostname": task.node,
        "time_start": None,
        "acknowledged": False,
        "delivery_info": {
            "exchange": "", "routing_key": task.queue, "priority": task.priority, "redelivered": task.attempt > 1,
        },
        "worker_pid": None,
    }  # fmt: skip


def _queue_info(queue: str) -> dict[str, Any]:
    return {
        "name": queue,
        "exchange": {
            "name": queue, "type": "direct", "arguments": None, "durable": True, "passive": False,
            "auto_delete": False, "delivery_mode": None, "no_declare": False,
        },
        "routing_key": queue, "queue_arguments": None, "binding_arguments": None, "consumer_arguments": None,
        "durable": True, "exclusive": False, "auto_delete": False, "no_ack": False, "alias": None, "bindings": [],
        "no_declare": None, "expires": None, "message_ttl": None, "max_length": None, "max_length_bytes": None,
        "max_priority": None,
    }  # fmt: skip
