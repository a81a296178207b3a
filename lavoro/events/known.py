"""One worker and one task, as events have told them."""

from __future__ import annotations

import bisect
import logging
import time
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, ClassVar
from weakref import WeakSet

from lavoro import states
from lavoro.events.event import Told

logger = logging.getLogger("lavoro.events")

HEARTBEAT_EXPIRE_WINDOW = 200
"""Percent of the time between two heartbeats after which a worker that sends none counts as gone."""
HEARTBEAT_DRIFT_MAX = 16
"""Seconds between the time of an event and that of its arrival after which a warning is logged."""
DRIFT_WARNING = (
    "Substantial drift from %s may mean clocks are out of sync.  Current drift is %s seconds.  [orig: %s recv: %s]"
)
TASK_EVENT_TO_STATE = {
    "sent": states.PENDING, "received": states.RECEIVED, "started": states.STARTED, "failed": states.FAILURE,
    "retried": states.RETRY, "succeeded": states.SUCCESS, "revoked": states.REVOKED, "rejected": states.REJECTED,
}  # fmt: skip
"""The states that events bring about; other events bring about the state of their name."""
_warned: set[str] = set()
"""Workers whose drift was logged."""


def heartbeat_expires(timestamp: Any, freq: Any = 60, expire_window: float = HEARTBEAT_EXPIRE_WINDOW) -> float:
    """Return the time at which a worker counts as gone that has sent its last heartbeat at a time."""
    return float(timestamp) + float(freq) * (expire_window / 1e2)


def _warn_drift(hostname: str, drift: float, received: float, sent: float) -> None:
    if hostname not in _warned and len(_warned) < 1000:
        _warned.add(hostname)
        logger.warning(DRIFT_WARNING, hostname, drift, datetime.fromtimestamp(received), datetime.fromtimestamp(sent))


class Worker:
    """A worker as its last events told it."""

    heartbeat_max = 4
    expire_window = HEARTBEAT_EXPIRE_WINDOW
    _fields: ClassVar[tuple[str, ...]] = (
        "hostname", "pid", "freq", "heartbeats", "clock", "active", "processed", "loadavg", "sw_ident", "sw_ver",
        "sw_sys",
    )  # fmt: skip

    def __init__(
        self, hostname: str | None = None, pid: int | None = None, freq: float = 60,
        heartbeats: list[float] | None = None, clock: int = 0, active: int | None = None, processed: int | None = None,
        loadavg: Any = None, sw_ident: str | None = None, sw_ver: str | None = None, sw_sys: str | None = None,
    ) -> None:  # fmt: skip
        self.hostname, self.pid, self.freq, self.clock = hostname, pid, freq, clock or 0
        self.heartbeats: list[float] = [] if heartbeats is None else heartbeats
        self.active, self.processed, self.loadavg = active, processed, loadavg
        self.sw_ident, self.sw_ver, self.sw_sys = sw_ident, sw_ver, sw_sys

    def event(
        self, type_: str | None, timestamp: float | None = None, local_received: float | None = None,
        fields: Told | None = None, max_drift: float = HEARTBEAT_DRIFT_MAX,
    ) -> None:  # fmt: skip
        """Take an event in."""
        vars(self).update(fields or {})
        if type_ == "offline":
            self.heartbeats.clear()
        elif timestamp and local_received:
            drift = abs(int(local_received) - int(timestamp))
            if drift > max_drift:
                _warn_drift(str(self.hostname), drift, local_received, timestamp)
            if len(self.heartbeats) >= self.heartbeat_max:
                self.heartbeats.pop(0)
            bisect.insort(self.heartbeats, local_received)

    def update(self, f: Mapping[str, Any], **kw: Any) -> None:
        """Set fields."""
        vars(self).update(f, **kw)

    @property
    def status_string(self) -> str:
        """ONLINE or OFFLINE."""
        return "ONLINE" if self.alive else "OFFLINE"

    @property
    def heartbeat_expires(self) -> float:
        """The time at which it counts as gone, unless another heartbeat comes."""
        return heartbeat_expires(self.heartbeats[-1], self.freq, self.expire_window)

    @property
    def alive(self) -> bool:
        """Whether it has sent a heartbeat in time."""
        return bool(self.heartbeats and time.time() < self.heartbeat_expires)

    @property
    def id(self) -> str:
        """Its name with its process id."""
        return f"{self.hostname}.{self.pid}"

    def __eq__(self, other: object) -> bool:
        return self.hostname == other.hostname if isinstance(other, type(self)) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.hostname)

    def __repr__(self) -> str:
        return f"<Worker: {self.hostname} ({self.status_string} clock:{self.clock})"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), tuple(getattr(self, field) for field in self._fields)


class Task:
    """A task as its events told it; each event of a type sets the field of that name to its time."""

    name: Any = None
    args: Any = None
    kwargs: Any = None
    eta: Any = None
    expires: Any = None
    retries: Any = None
    sent: Any = None
    received: Any = None
    started: Any = None
    succeeded: Any = None
    failed: Any = None
    retried: Any = None
    revoked: Any = None
    rejected: Any = None
    timestamp: Any = None
    runtime: Any = None
    result: Any = None
    exception: Any = None
    traceback: Any = None
    exchange: Any = None
    routing_key: Any = None
    root_id: Any = None
    parent_id: Any = None
    worker: Any = None
    client: Any = None
    state: str = states.PENDING
    clock: Any = 0

    _fields: ClassVar[tuple[str, ...]] = (
        "uuid", "name", "state", "received", "sent", "started", "rejected", "succeeded", "failed", "retried", "revoked",
        "args", "kwargs", "eta", "expires", "retries", "worker", "result", "exception", "timestamp", "runtime",
        "traceback", "exchange", "routing_key", "clock", "client", "root", "root_id", "parent", "parent_id", "children",
    )  # fmt: skip
    merge_rules: ClassVar[Mapping[str, tuple[str, ...]]] = {
        states.RECEIVED: ("name", "args", "kwargs", "parent_id", "root_id", "retries", "eta", "expires"),
    }
    """The fields that an event still sets that comes late."""
    _info_fields: ClassVar[tuple[str, ...]] = (
        "args", "kwargs", "retries", "result", "eta", "runtime", "expires", "exception", "exchange", "routing_key",
        "root_id", "parent_id",
    )  # fmt: skip

    def __init__(
        self, uuid: str | None = None, cluster_state: Any = None, children: Iterable[str] | None = None, **kwargs: Any
    ) -> None:
        self.uuid, self.cluster_state = uuid, cluster_state
        known = {} if cluster_state is None else cluster_state.tasks
        self.children: WeakSet[Task] = WeakSet(known[id] for id in children or () if id in known)
        vars(self).update(kwargs)

    def event(
        self, type_: str, timestamp: float | None = None, local_received: float | None = None,
        fields: Told | None = None, **_: Any,
    ) -> None:  # fmt: skip
        """Take an event in; one that belongs before the present state does not replace it."""
        fields = {} if fields is None else fields
        state = TASK_EVENT_TO_STATE.get(type_)
        if state is not None:
            setattr(self, type_, timestamp)
        else:
            state = type_.upper()
        late = states.precedence(state) > states.precedence(self.state)
        if late and states.RETRY not in (state, self.state):
            keep = self.merge_rules.get(state)
            if keep is not None:
                fields = {name: value for name, value in fields.items() if name in keep}
        else:
            fields.update(state=state, timestamp=timestamp)
        vars(self).update(fields)

    def info(self, fields: Iterable[str] | None = None, extra: Iterable[str] | None = None) -> dict[str, Any]:
        """Return fields for a screen: those that have a value."""
        names = [*(self._info_fields if fields is None else fields), *(extra or ())]
        return {name: value for name in names if (value := getattr(self, name, None)) is not None}

    def as_dict(self) -> dict[str, Any]:
        """Return all fields; other tasks as their ids."""
        shown = {"children": [task.id for task in self.children], "root": self.root_id, "parent": self.parent_id}
        return {name: shown[name] if name in shown else getattr(self, name) for name in self._fields}

    @property
    def id(self) -> str | None:
        """The id of the task."""
        return self.uuid

    @property
    def origin(self) -> Any:
        """The client that has sent it, or the worker that runs it."""
        return self.client if self.worker is None else self.worker.id

    @property
    def ready(self) -> bool:
        """Whether it has ended."""
        return self.state in states.READY_STATES

    @property
    def parent(self) -> Any:
        """The task that has sent it, if it is known."""
        return self._other(self.parent_id)

    @property
    def root(self) -> Any:
        """The first task of those that led to it, if it is known."""
        return self._other(self.root_id)

    def _other(self, id: str | None) -> Any:
        try:
            return id and self.cluster_state.tasks.data[id]
        except KeyError:
            return None

    def __eq__(self, other: object) -> bool:
        return self.uuid == other.uuid if isinstance(other, type(self)) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.uuid)

    def __repr__(self) -> str:
        return f"<Task: {self.name}({self.uuid}) {self.state} clock:{self.clock}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return _made, (type(self), self.as_dict())


def _made(cls: type[Task], fields: dict[str, Any]) -> Task:
    return cls(**{name: value for name, value in fields.items() if name not in ("root", "parent")})
