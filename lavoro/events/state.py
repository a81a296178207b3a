"""The state of workers and tasks in memory, as events have told it: for monitors, and for cameras."""

from __future__ import annotations

import bisect
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any, ClassVar
from weakref import WeakSet, ref

from lavoro import states
from lavoro.events.event import Told
from lavoro.events.known import Task as KnownTask
from lavoro.events.known import Worker as KnownWorker
from lavoro.events.order import LRU, Weighed


class CallableDefaultdict(defaultdict[str, Any]):
    """A defaultdict that can be called too: ``state.tasks_by_type("tasks.add")`` is an older spelling."""

    def __init__(self, fun: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        self.fun = fun
        super().__init__(*args, **kwargs)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.fun(*args, **kwargs)


class State:
    """All workers and tasks of which events have told; the oldest make room for new ones.

    ``event`` takes an event in, and is a handler for a receiver. ``callback`` is called with the state and each event,
    ``on_node_join`` and ``on_node_leave`` with a worker that comes or goes.
    """

    Worker: ClassVar[Any] = KnownWorker
    Task: ClassVar[Any] = KnownTask
    event_count = 0
    task_count = 0
    heap_multiplier = 4

    def __init__(
        self, callback: Callable[[State, Told], object] | None = None, workers: Any = None, tasks: Any = None,
        taskheap: list[Any] | None = None, max_workers_in_memory: int = 5000, max_tasks_in_memory: int = 10000,
        on_node_join: Callable[[KnownWorker], object] | None = None,
        on_node_leave: Callable[[KnownWorker], object] | None = None,
        tasks_by_type: Mapping[str, Any] | None = None, tasks_by_worker: Mapping[str, Any] | None = None,
    ) -> None:  # fmt: skip
        self.event_callback = callback
        self.workers = LRU(max_workers_in_memory) if workers is None else workers
        self.tasks = LRU(max_tasks_in_memory) if tasks is None else tasks
        self._taskheap: list[Any] = [] if taskheap is None else taskheap
        self.max_workers_in_memory, self.max_tasks_in_memory = max_workers_in_memory, max_tasks_in_memory
        self.on_node_join, self.on_node_leave = on_node_join, on_node_leave
        self._mutex = threading.Lock()
        self.handlers: dict[str, Callable[[str, Told], Any]] = {}
        """Functions for groups of events of one's own."""
        self._seen_types: set[str] = set()
        self._tasks_to_resolve = LRU(max_tasks_in_memory)
        """Tasks whose parents are not known, by the ids of these."""
        self.rebuild_taskheap()
        self.tasks_by_type = CallableDefaultdict(self._tasks_by_type, WeakSet)
        self.tasks_by_type.update(self._sets_of(tasks_by_type))
        self.tasks_by_worker = CallableDefaultdict(self._tasks_by_worker, WeakSet)
        self.tasks_by_worker.update(self._sets_of(tasks_by_worker))

    def _sets_of(self, ids: Mapping[str, Any] | None) -> dict[str, WeakSet[KnownTask]]:
        found = (ids or {}).items()
        return {name: WeakSet(self.tasks[id] for id in each if id in self.tasks) for name, each in found}

    # Events

    def event(self, event: Told) -> Any:
        """Take an event in; return what it was about, whether that is new, and the second part of its type."""
        with self._mutex:
            return self._event(dict(event))

    def task_event(self, type_: str, fields: Told) -> Any:
        """Take an event of a task in, by the second part of its type."""
        return self.event({**fields, "type": f"task-{type_}"})[0]

    def worker_event(self, type_: str, fields: Told) -> Any:
        """Take an event of a worker in, by the second part of its type."""
        return self.event({**fields, "type": f"worker-{type_}"})[0]

    def _event(self, event: Told) -> Any:
        self.event_count += 1
        if self.event_callback:
            self.event_callback(self, event)
        group, _, subject = event["type"].partition("-")
        if group in self.handlers:
            return self.handlers[group](subject, event), subject
        if group == "worker" and {"hostname", "timestamp", "local_received"} <= event.keys():
            return self._of_worker(event, subject), subject
        if group == "task":
            return self._of_task(event, subject), subject
        return None

    def _of_worker(self, event: Told, subject: str) -> tuple[KnownWorker, bool]:
        hostname, offline = event["hostname"], subject == "offline"
        created = hostname not in self.workers
        worker = self.Worker(hostname) if created else self.workers.data[hostname]
        if created and not offline:
            self.workers[hostname] = worker
        created = created and not offline
        worker.event(subject, event["timestamp"], event["local_received"], event)
        if self.on_node_join and (created or subject == "online"):
            self.on_node_join(worker)
        if self.on_node_leave and offline:
            self.on_node_leave(worker)
            self.workers.pop(hostname, None)
        return worker, created

    def _of_task(self, event: Told, subject: str) -> tuple[KnownTask, bool]:
        uuid, hostname, timestamp = event["uuid"], event["hostname"], event["timestamp"]
        received, clock = event["local_received"], event["clock"]
        created = uuid not in self.tasks
        if created:
            self.tasks[uuid] = self.Task(uuid, cluster_state=self)
        task = self.tasks.data[uuid]
        if subject == "sent":  # by a client, no worker
            task.client = origin = hostname
        else:
            if hostname not in self.workers:
                self.workers[hostname] = self.Worker(hostname)
            task.worker = worker = self.workers.data[hostname]
            origin = worker.id
            if received:
                worker.event(None, received, timestamp)
        self._place(Weighed(clock, timestamp, origin, ref(task)))
        if subject == "received":
            self.task_count += 1
        task.event(subject, timestamp, received, event)
        if task.name is not None:
            self._seen_types.add(task.name)
            if created:
                self.tasks_by_type[task.name].add(task)
                self.tasks_by_worker[hostname].add(task)
        self._relate(task)
        return task, created

    def _place(self, item: Weighed) -> None:
        if len(self._taskheap) + 1 > self.max_tasks_in_memory * self.heap_multiplier:
            self._taskheap.pop(0)
        if self._taskheap and item > self._taskheap[-1]:
            self._taskheap.append(item)
        else:
            bisect.insort(self._taskheap, item)

    def _relate(self, task: KnownTask) -> None:
        if task.parent_id:
            if task.parent_id in self.tasks:
                self.tasks[task.parent_id].children.add(task)
            else:
                if task.parent_id not in self._tasks_to_resolve:
                    self._tasks_to_resolve[task.parent_id] = WeakSet()
                self._tasks_to_resolve[task.parent_id].add(task)
        task.children.update(self._tasks_to_resolve.pop(str(task.uuid), ()))

    # The parts to keep

    def freeze_while(self, fun: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call a function while no event is taken in; with ``clear_after``, forget all that has ended after it."""
        clear_after = kwargs.pop("clear_after", False)
        with self._mutex:
            try:
                return fun(*args, **kwargs)
            finally:
                if clear_after:
                    self._clear()

    def clear_tasks(self, ready: bool = True) -> None:
        """Forget tasks; with ``ready``, those alone that have ended."""
        with self._mutex:
            self._clear_tasks(ready)

    def clear(self, ready: bool = True) -> None:
        """Forget workers and tasks; with ``ready``, those tasks alone that have ended."""
        with self._mutex:
            self._clear(ready)

    def _clear_tasks(self, ready: bool = True) -> None:
        kept = {uuid: task for uuid, task in self.itertasks() if ready and task.state not in states.READY_STATES}
        self.tasks.clear()
        self.tasks.update(kept)
        self._taskheap.clear()

    def _clear(self, ready: bool = True) -> None:
        self.workers.clear()
        self._clear_tasks(ready)
        self.event_count = self.task_count = 0

    def get_or_create_worker(self, hostname: str, **kwargs: Any) -> tuple[KnownWorker, bool]:
        """Return a worker, and whether it is new."""
        if hostname in self.workers:
            worker = self.workers[hostname]
            worker.update(kwargs)
            return worker, False
        worker = self.workers[hostname] = self.Worker(hostname, **kwargs)
        return worker, True

    def get_or_create_task(self, uuid: str) -> tuple[KnownTask, bool]:
        """Return a task, and whether it is new."""
        if uuid in self.tasks:
            return self.tasks[uuid], False
        task = self.tasks[uuid] = self.Task(uuid, cluster_state=self)
        return task, True

    def rebuild_taskheap(self) -> None:
        """Bring the tasks into the order of their times again."""
        items = (Weighed(task.clock, task.timestamp, task.origin, ref(task)) for task in self.tasks.values())
        self._taskheap[:] = sorted(items)

    # Questions

    def itertasks(self, limit: int | None = None) -> Iterator[tuple[str, KnownTask]]:
        """Yield the tasks with their ids, at most ``limit``."""
        return islice(self.tasks.items(), limit or None)

    def tasks_by_time(self, limit: int | None = None, reverse: bool = True) -> Iterator[tuple[str, KnownTask]]:
        """Yield the tasks with their ids in the order of their last events, the latest first with ``reverse``."""
        seen = set()
        for item in islice(reversed(self._taskheap) if reverse else self._taskheap, 0, limit):
            task = item[3]()
            if task is not None and task.uuid not in seen:
                seen.add(task.uuid)
                yield task.uuid, task

    tasks_by_timestamp = tasks_by_time

    def _tasks_by_type(
        self, name: str, limit: int | None = None, reverse: bool = True
    ) -> Iterator[tuple[str, KnownTask]]:
        found = (pair for pair in self.tasks_by_time(reverse=reverse) if pair[1].name == name)
        return islice(found, 0, limit)

    def _tasks_by_worker(
        self, hostname: str, limit: int | None = None, reverse: bool = True
    ) -> Iterator[tuple[str, KnownTask]]:
        pairs = self.tasks_by_time(reverse=reverse)
        return islice((pair for pair in pairs if pair[1].worker and pair[1].worker.hostname == hostname), 0, limit)

    def task_types(self) -> list[str]:
        """Return the names of all tasks that were seen."""
        return sorted(self._seen_types)

    def alive_workers(self) -> Iterator[KnownWorker]:
        """Yield the workers that live, as far as their heartbeats tell."""
        return (worker for worker in self.workers.values() if worker.alive)

    def __repr__(self) -> str:
        return f"<State: events={self.event_count} tasks={self.task_count}>"

    def __reduce__(self) -> tuple[Any, ...]:
        ids = [
            {name: [task.id for task in tasks] for name, tasks in index.items()}
            for index in (self.tasks_by_type, self.tasks_by_worker)
        ]
        return type(self), (
            self.event_callback, self.workers, self.tasks, None, self.max_workers_in_memory, self.max_tasks_in_memory,
            self.on_node_join, self.on_node_leave, *ids,
        )  # fmt: skip
