"""The commands that a supervisor carries out itself: those about its processes, its queues and its end."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from lavoro.calling.routing import checked_name
from lavoro.text.plural import counted
from lavoro.worker.config import WorkerConfig
from lavoro.worker.supervisor.activity import Activity
from lavoro.worker.supervisor.autoscale import Autoscale, Bounds
from lavoro.worker.supervisor.children import Children
from lavoro.worker.supervisor.commands import Action, Refused
from lavoro.worker.supervisor.leases import Leases


class Orders(NamedTuple):
    """Functions of the supervisor that commands call."""

    config: Callable[[], WorkerConfig]
    stop: Callable[[str], object]
    rest: Callable[[bool], object]
    reload: Callable[[], object]
    serve: Callable[[tuple[str, ...]], object]
    """Serve these queues from now on."""
    resize: Callable[[int], object]
    """Have so many slots: processes of a prefork pool, else slots of each process."""
    tell_events: Callable[[bool], object]
    """Have monitors be told of the tasks, or no longer."""


class Actions:
    """The commands of a node; each returns its reply, or raises ``Refused``."""

    def __init__(
        self, orders: Orders, children: Children, leases: Leases, activity: Activity, autoscale: Autoscale
    ) -> None:
        self._orders, self._children, self._leases = orders, children, leases
        self._activity, self._autoscale = activity, autoscale
        self._began = time.monotonic()

    @property
    def by_name(self) -> dict[str, Action]:
        """The functions by the names of their commands."""
        own = (
            self.ping, self.stats, self.shutdown, self.quiet, self.resume, self.pool_grow, self.pool_shrink,
            self.pool_restart, self.autoscale, self.add_consumer, self.cancel_consumer, self.heartbeat,
            self.enable_events, self.disable_events,
        )  # fmt: skip
        return {function.__name__: function for function in own}

    def ping(self) -> Any:
        """Say that the node lives."""
        return {"ok": "pong"}

    def heartbeat(self) -> Any:
        """Renew the leases now."""
        self._leases.upkeep.renew()
        return {"ok": "leases are renewed"}

    # Its events

    def enable_events(self) -> Any:
        """Have monitors be told of the tasks."""
        return self._tell_events(True, "enabled")

    def disable_events(self) -> Any:
        """Have monitors be told of no tasks."""
        return self._tell_events(False, "disabled")

    def _tell_events(self, on: bool, word: str) -> Any:
        if self._orders.config().task_events == on:
            return {"ok": f"task events already {word}"}
        self._orders.tell_events(on)
        return {"ok": f"task events {word}"}

    # Its end

    def shutdown(self) -> Any:
        """Stop as SIGTERM does."""
        self._orders.stop("the command shutdown")
        return {"ok": "stopping"}

    def quiet(self) -> Any:
        """Claim nothing from now on."""
        self._orders.rest(True)
        return {"ok": "the worker claims no more tasks"}

    def resume(self) -> Any:
        """Claim again."""
        self._orders.rest(False)
        return {"ok": "the worker claims tasks"}

    # Its queues

    def add_consumer(
        self, queue: str, exchange: Any = None, exchange_type: Any = None, routing_key: Any = None, **options: Any
    ) -> Any:
        """Serve one more queue; exchanges and keys are passed over. Raises ValueError for a wrong name."""
        served = self._orders.config().queues
        if queue not in served:
            self._orders.serve((*served, checked_name(queue)))
        return {"ok": f"add consumer {queue}"}

    def cancel_consumer(self, queue: str, **options: Any) -> Any:
        """Serve a queue no longer."""
        served = self._orders.config().queues
        if queue in served:
            self._orders.serve(tuple(name for name in served if name != queue))
        return {"ok": f"no longer consuming from {queue}"}

    # Its processes

    def pool_restart(self, modules: Any = None, reload: bool = False, reloader: Any = None) -> Any:
        """Replace all processes one by one; each imports all modules anew, also without ``reload``."""
        if reloader is not None:
            raise Refused("a reloader has nothing to do: each new process imports all modules anew")
        known = self._orders.config().modules
        if unknown := [name for name in modules or () if name not in known]:
            raise Refused(
                f"the processes do not import {unknown[0]!r}, and a command does not add modules: add it to the setting"
                " include, then repeat this"
            )
        self._orders.reload()
        return {"ok": "reload started"}

    def pool_grow(self, n: int = 1) -> Any:
        """Have ``n`` more slots."""
        self._resize(int(n))
        return {"ok": "pool will grow"}

    def pool_shrink(self, n: int = 1) -> Any:
        """Have ``n`` fewer slots."""
        self._resize(-int(n))
        return {"ok": "pool will shrink"}

    def autoscale(self, max: int | None = None, min: int | None = None) -> Any:
        """Choose the number of slots by load between two bounds; None leaves a bound as it is."""
        self._check_pool()
        most, least = self._autoscale.bounds or (self._autoscale.size, 1)
        bounds = Bounds(most if max is None else int(max), least if min is None else int(min))
        if not 1 <= bounds.least <= bounds.most:
            raise Refused(f"autoscale takes 1 <= min <= max, not max={bounds.most} min={bounds.least}")
        self._autoscale.begin(bounds)
        return {"ok": f"autoscale now max={bounds.most} min={bounds.least}"}

    def _resize(self, more: int) -> None:
        self._check_pool()
        size = self._autoscale.size + more
        if size < 1:
            raise Refused(f"the pool would have {counted(size, 'slot')}: the least is 1")
        self._autoscale.widen(size)
        self._orders.resize(size)

    def _check_pool(self) -> None:
        if self._orders.config().pool == "solo":
            raise Refused("a solo pool has one slot: use another pool (-P)")

    # Its tasks so far

    def stats(self) -> Any:
        """Return what Celery's workers tell of themselves."""
        config, used = self._orders.config(), resource.getrusage(resource.RUSAGE_SELF)
        children = self._children.present
        return {
            "broker": {"transport": "postgresql", "hostname": None, "transport_options": {}},
            "clock": str(time.time_ns() // 1000),
            "uptime": round(time.monotonic() - self._began),
            "pid": os.getpid(),
            "pool": {
                "implementation": f"lavoro:{config.pool}",
                "max-concurrency": config.slots * config.processes,
                "processes": [child.pid for child in children],
                "max-tasks-per-child": "N/A",
                "put-guarded-by-semaphore": False,
                "timeouts": [None, None],
                "writes": {},
            },
            "prefetch_count": config.slots * config.processes,
            "rusage": {name.removeprefix("ru_"): getattr(used, name) for name in dir(used) if name.startswith("ru_")},
            "total": dict(self._activity.total),
            **({} if self._autoscale.bounds is None else {"autoscaler": self._autoscale.told}),
        }
