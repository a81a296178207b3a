"""Schedulers that an application replaces by classes of its own; one process of all runs such a scheduler."""

from __future__ import annotations

import copy
import heapq
import logging
import time
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any, NamedTuple

from lavoro.beat.calls import CANVASES, call, value_of
from lavoro.beat.owner import owner_of
from lavoro.beat.schedule_entry import ScheduleEntry
from lavoro.schedules.entry import RULES, scheduled
from lavoro.store import schedules
from lavoro.store.schedules import State

logger = logging.getLogger("lavoro.beat")

DEFAULT_MAX_INTERVAL = 300
"""Seconds between two looks at the entries, at most."""
PRIORITY = 5


class SchedulingError(Exception):
    """The task of an entry could not be sent."""


class event_t(NamedTuple):
    """An entry with the time (of the epoch) at which it is due or worth asking."""

    time: float
    priority: int
    entry: Any


class Scheduler:
    """Base of an application's own scheduler, which the setting ``beat_scheduler`` or the option -S names.

    It keeps its entries in memory: after a restart each counts as sent just now. One process at a time runs it,
    ``tick`` after ``tick``. A subclass replaces what it needs: the source of entries (``setup_schedule``,
    ``schedule``), what is due (``is_due``, or the ``Entry``), what is sent (``apply_async``), where it is kept
    (``sync``). With ``lazy`` it reads no entries. ``Producer`` is kept, and nothing is made of it.
    """

    Entry: Any = ScheduleEntry
    max_interval: float = DEFAULT_MAX_INTERVAL
    sync_every: float = 180
    """Seconds between two calls of ``sync``."""
    sync_every_tasks: int | None = None
    """Tasks after which ``sync`` is called in any case."""
    logger = logger
    _last_sync: float | None = None
    _tasks_since_sync = 0

    def __init__(
        self, app: Any, schedule: Any = None, max_interval: float | None = None, Producer: Any = None,
        lazy: bool = False, sync_every_tasks: int | None = None, **kwargs: Any,
    ) -> None:  # fmt: skip
        self.app = app
        self.data = {} if schedule is None else schedule() if callable(schedule) else schedule
        self.max_interval = max_interval or app.conf.beat_max_loop_interval or self.max_interval
        self.Producer = Producer
        self.sync_every_tasks = app.conf.beat_sync_every if sync_every_tasks is None else sync_every_tasks
        self._heap: list[event_t] | None = None
        self.old_schedulers: Any = None
        if not lazy:
            self.setup_schedule()

    # Entries

    def setup_schedule(self) -> None:
        """Read the entries."""
        self.install_default_entries(self.data)
        self.merge_inplace(self.app.conf.beat_schedule)

    def install_default_entries(self, data: Any) -> None:
        """Add no entry: workers drop old results, which Celery's entry ``celery.backend_cleanup`` is for."""
        self.update_from_dict({})

    def get_schedule(self) -> Any:
        """Return the entries by their names."""
        return self.data

    def set_schedule(self, schedule: Any) -> None:
        """Replace the entries."""
        self.data = schedule

    schedule = property(get_schedule, set_schedule)

    def add(self, **kwargs: Any) -> Any:
        """Make an entry, and add it."""
        entry = self._entry(kwargs.pop("name", None), kwargs)
        self.schedule[entry.name] = entry
        return entry

    def update_from_dict(self, dict_: Mapping[str, Any]) -> None:
        """Add entries, or their definitions."""
        self.schedule.update({name: self._maybe_entry(name, given) for name, given in dict_.items()})

    def merge_inplace(self, b: Mapping[str, Any]) -> None:
        """Take over definitions, and drop all other entries; entries that stay keep when they were sent."""
        schedule = self.schedule
        for name in set(schedule) ^ set(b):
            schedule.pop(name, None)
        for name, given in b.items():
            entry = self._entry(name, given)
            if schedule.get(name):
                schedule[name].update(entry)
            else:
                schedule[name] = entry

    def _maybe_entry(self, name: str, entry: Any) -> Any:
        if not isinstance(entry, self.Entry):
            return self._entry(name, entry)
        entry.app = self.app
        return entry

    def _entry(self, name: str | None, given: Any) -> Any:
        """Make an entry of its definition; rules that only Lavoro's own scheduler has are left out."""
        given = dict(given)
        if given.get("tz") is not None:
            given["schedule"] = scheduled(given["schedule"], tz=given["tz"], app=self.app)
        if rules := sorted({key for key in RULES if given.get(key) is not None} - {"relative", "tz"}):
            logger.warning("the schedule %r: %s does not read %s", name, type(self).__name__, ", ".join(rules))
        given = {key: value for key, value in given.items() if key == "relative" or key not in RULES}
        return self.Entry(**{**given, "name": name, "app": self.app})

    def schedules_equal(self, old_schedules: Any, new_schedules: Any) -> bool:
        """Return whether both have the same entries."""
        if old_schedules is None or new_schedules is None:
            return old_schedules is new_schedules
        return old_schedules.keys() == new_schedules.keys() and all(
            new_schedules.get(name) == entry for name, entry in old_schedules.items()
        )

    # Ticks

    def tick(
        self, event_t: Any = event_t, min: Any = min, heappop: Any = heapq.heappop, heappush: Any = heapq.heappush
    ) -> float:
        """Send the task of one entry that is due; return the seconds until the next call, 0 for at once."""
        if self._heap is None or not self.schedules_equal(self.old_schedulers, self.schedule):
            self.old_schedulers = copy.copy(self.schedule)
            self.populate_heap()
        heap: Any = self._heap
        if not heap:
            return self.max_interval
        event = heap[0]
        left = event.time - self._when(event.entry, 0)
        if left > 0:
            return min(left, self.max_interval)  # type: ignore[no-any-return]
        is_due, seconds = self._asked(event.entry, self.is_due)
        if heap[0] is not event:  # the question has changed the entries
            left = heap[0].time - self._when(heap[0].entry, 0)
            return min(left, self.max_interval)  # type: ignore[no-any-return]
        if is_due:
            following = self.reserve(event.entry)  # first: an error of it leaves the entry due
            heappop(heap)
            try:
                self.apply_entry(event.entry, producer=self.producer)
            finally:
                heappush(heap, event_t(self._when(following, seconds), event.priority, following))
            return 0
        again = seconds if isinstance(seconds, (int, float)) else self.max_interval
        heappop(heap)
        heappush(heap, event_t(self._when(event.entry, again), event.priority, event.entry))
        return 0 if heap[0].entry is not event.entry else min(self.adjust(again), self.max_interval)

    def populate_heap(self, event_t: Any = event_t, heapify: Any = heapq.heapify) -> None:
        """Put all entries in the order in which they are due."""
        heap = []
        for entry in self.schedule.values():
            is_due, seconds = self._asked(entry, lambda entry: entry.is_due())
            heap.append(event_t(self._when(entry, 0 if is_due else seconds), PRIORITY, entry))
        heapify(heap)
        self._heap = heap

    def _asked(self, entry: Any, ask: Any) -> tuple[bool, Any]:
        """Ask whether an entry is due; one that cannot tell is asked again later, and stops no other."""
        try:
            is_due, seconds = ask(entry)
        except Exception:
            logger.exception("it is unknown when %r is due; it is asked again in %g s", entry.name, self.max_interval)
            return False, self.max_interval
        return bool(is_due), seconds

    def is_due(self, entry: Any) -> Any:
        """Return whether an entry is due, and the seconds until it is worth asking again."""
        return entry.is_due()

    def adjust(self, n: Any, drift: float = -0.010) -> Any:
        """Return seconds to wait, a little less than these: the call itself takes time."""
        return n + drift if n and n > 0 else n

    def _when(self, entry: Any, next_time_to_run: Any, mktime: Any = None) -> float:
        """Return the time (of the epoch) in so many seconds."""
        now: datetime = entry.default_now()
        now = now if now.tzinfo is not None else now.replace(tzinfo=timezone.utc)
        return now.timestamp() + (self.adjust(next_time_to_run) or 0)

    def reserve(self, entry: Any) -> Any:
        """Note that an entry is sent now; return it as it is then."""
        following = self.schedule[entry.name] = next(entry)
        return following

    # Sending

    def apply_entry(self, entry: Any, producer: Any = None) -> None:
        """Send the task of an entry; an error is logged, and the entry goes on with its next time."""
        logger.info("Scheduler: Sending due task %s (%s)", entry.name, entry.task)
        try:
            result = self.apply_async(entry, producer=producer, advance=False)
        except Exception:
            logger.exception("the task of the schedule %r cannot be sent", entry.name)
        else:
            logger.debug("%s sent. id->%s", entry.task, getattr(result, "id", None))

    def apply_async(self, entry: Any, producer: Any = None, advance: bool = True, **kwargs: Any) -> Any:
        """Send the task of an entry, after its run is noted; raises ``SchedulingError``."""
        entry = self.reserve(entry) if advance else entry
        try:
            args = [value_of(value) for value in entry.args or ()]
            named = {key: value_of(value) for key, value in (entry.kwargs or {}).items()}
            options = {**entry.options, "headers": {**(entry.options.get("headers") or {}), "celery_beat_task": True}}
            if entry.task in CANVASES:
                return call(self.app, entry.task, args, named, options)
            task = self.app.tasks.get(entry.task)
            if task is not None:
                return task.apply_async(args, named, producer=producer, **options)
            return self.send_task(entry.task, args, named, producer=producer, **options)
        except Exception as error:
            raise SchedulingError(f"Couldn't apply scheduled task {entry.name}: {error}") from error
        finally:
            self._tasks_since_sync += 1
            if self.should_sync():
                self._do_sync()

    def send_task(self, *args: Any, **kwargs: Any) -> Any:
        """Send a task that this process does not know."""
        return self.app.send_task(*args, **kwargs)

    @property
    def connection(self) -> Any:
        """The connection of the application, which tells whether the database answers."""
        return self.app.connection_for_write()

    @property
    def producer(self) -> Any:
        """None: tasks are rows."""
        return None

    # Keeping

    def should_sync(self) -> bool:
        """Return whether it is time for ``sync``."""
        old = not self._last_sync or time.monotonic() - self._last_sync > self.sync_every
        return old or bool(self.sync_every_tasks and self._tasks_since_sync >= self.sync_every_tasks)

    def _do_sync(self) -> None:
        try:
            logger.debug("beat: Synchronizing schedule...")
            self.sync()
        finally:
            self._last_sync, self._tasks_since_sync = time.monotonic(), 0

    def sync(self) -> None:
        """Keep the state of the entries: here nothing is kept."""

    def close(self) -> None:
        """Keep the state a last time."""
        self.sync()

    @property
    def info(self) -> str:
        """A line about it for people."""
        return ""


class PersistentScheduler(Scheduler):
    """A scheduler whose entries keep in the database when they were sent: a restart, on any node, goes on from there.

    ``schedule_filename`` is kept as an attribute, and no file is written. Each run is stored before its task is sent.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.schedule_filename = kwargs.get("schedule_filename")
        self._states: dict[str, State] = {}
        super().__init__(*args, **kwargs)

    def setup_schedule(self) -> None:
        """Read when the entries were sent, then the entries."""
        with self.app.database.tx() as tx:
            self._states = {state.name: state for state in schedules.states(tx, owner_of(self.app))}
        super().setup_schedule()
        self.sync()

    def _entry(self, name: str | None, given: Any) -> Any:
        state = self._states.get(name or "")
        known = {} if state is None else {"last_run_at": state.last_at, "total_run_count": state.runs}
        return super()._entry(name, {**known, **dict(given)})

    def reserve(self, entry: Any) -> Any:
        """Note that an entry is sent now, in the database too; return it as it is then."""
        following = next(entry)
        self._keep([following])
        self.schedule[entry.name] = following
        return following

    def sync(self) -> None:
        """Store when entries were sent, and drop what is stored of others."""
        self._keep(list(self.schedule.values()))
        gone = self._states.keys() - set(self.schedule)
        if gone:
            with self.app.database.tx() as tx:
                schedules.forget_states(tx, owner_of(self.app), sorted(gone))
            self._states = {name: state for name, state in self._states.items() if name not in gone}

    def _keep(self, entries: list[Any]) -> None:
        states = [State(entry.name, _aware(entry.last_run_at), entry.total_run_count) for entry in entries]
        states = [state for state in states if self._states.get(state.name) != state]
        if states:
            with self.app.database.tx() as tx:
                schedules.keep_states(tx, owner_of(self.app), states)
            self._states.update({state.name: state for state in states})

    @property
    def info(self) -> str:
        """A line about it for people."""
        return "    . db -> PostgreSQL"


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=timezone.utc)
