"""The commands that each worker knows, with the functions that a process with the application runs."""

from __future__ import annotations

import logging
import resource
import sys
import tempfile
from collections import deque
from importlib import import_module
from pathlib import Path
from typing import Any

from lavoro.control.panel import CommandInfo, Panel, State, control_command, inspect_command

logger = logging.getLogger("lavoro.worker")

SAMPLES: deque[str] = deque(maxlen=100)
"""The last samples of the memory in use."""
NO_LIMITS = "this release has no rate limits: nothing has changed"
NO_DISPATCHER = "event dispatcher unavailable: workers of this release send no events of their own"
NO_ELECTION = "workers hold no elections: a task is claimed by one of them, and schedules have one leader"

# Questions that rows answer


@inspect_command(alias="dump_active")
def active(state: State, safe: bool = False) -> Any:
    """List of tasks currently being executed."""
    return _own(state).active(safe) or []


@inspect_command(alias="dump_reserved")
def reserved(state: State, safe: bool = False) -> Any:
    """List of currently reserved tasks, not including scheduled/active."""
    return _own(state).reserved(safe) or []


@inspect_command(alias="dump_schedule")
def scheduled(state: State, safe: bool = False) -> Any:
    """List of currently scheduled ETA/countdown tasks."""
    return _own(state).scheduled(safe) or []


@inspect_command(alias="dump_revoked")
def revoked(state: State) -> Any:
    """List of revoked task-ids."""
    return _own(state).revoked() or []


@inspect_command()
def active_queues(state: State) -> Any:
    """List the task queues a worker is currently consuming from."""
    return _own(state).active_queues() or []


@inspect_command(variadic="ids", signature="[id1 [id2 [... [idN]]]]")
def query_task(state: State, ids: Any) -> Any:
    """Query for task information by id."""
    return _own(state).query_task(ids) or {}


@inspect_command()
def clock(state: State) -> Any:
    """Get current logical clock value."""
    return _own(state).clock() or {}


def _own(state: State) -> Any:
    return state.app.control.inspect(state.hostname)


# Questions about the application


@inspect_command(alias="dump_tasks", variadic="taskinfoitems", signature="[attr1 [attr2 [... [attrN]]]]")
def registered(state: State, taskinfoitems: list[str] | None = None, builtins: bool = False) -> list[str]:
    """List of registered tasks."""
    wanted = [item for item in taskinfoitems or () if not item.startswith("_")]
    return [
        _told(state.app.tasks[name], wanted)
        for name in sorted(state.app.tasks)
        if builtins or not name.startswith("celery.")
    ]


def _told(task: Any, wanted: list[str]) -> str:
    values = {item: getattr(task, item, None) for item in wanted}
    shown = " ".join(f"{item}={value}" for item, value in values.items() if value is not None)
    return f"{task.name} [{shown}]" if shown else str(task.name)


def _flag(text: str) -> bool:
    if text.lower() in ("1", "true", "yes", "on"):
        return True
    if text.lower() in ("0", "false", "no", "off"):
        return False
    raise ValueError(f"{text!r} is neither true nor false")


@inspect_command(alias="dump_conf", signature="[include_defaults=False]", args=[("with_defaults", _flag)])
def conf(state: State, with_defaults: bool = False) -> Any:
    """List configuration."""
    settings = state.app.conf
    return {"deprecated_settings": [], "include": settings.include, **settings.table(with_defaults=with_defaults)}


@inspect_command()
def report(state: State) -> Any:
    """Information about Celery installation for bug reports."""
    return {"ok": state.app.bugreport()}


@inspect_command(visible=False)
def hello(state: State, from_node: str, revoked: Any = None) -> Any:
    """Request mingle sync-data."""
    return None if from_node == state.hostname else {"revoked": _own(state).revoked() or [], "clock": 0}


# Memory


@inspect_command()
def memsample(state: State) -> str:
    """Sample current RSS memory usage."""
    SAMPLES.append(_shown(resident()))
    return SAMPLES[-1]


@inspect_command(args=[("samples", int)], signature="[n_samples=10]")
def memdump(state: State, samples: int = 10) -> str:
    """Dump statistics of previous memsample requests."""
    if not SAMPLES:
        return "- rss: (no samples collected)."
    lines = ["- rss (sample):", *(f"-    > {sample}" for sample in list(SAMPLES)[-max(1, samples) :])]
    return "\n".join([*lines, f"- rss (end): {_shown(resident())}."])


def resident() -> int:
    """Return the bytes of memory that this process has resident, or had at most where the system does not tell."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    except (OSError, IndexError, ValueError):
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024


def _shown(size: int) -> str:
    return f"{size / 2**20:.1f}MB"


@inspect_command(
    default_timeout=60.0, args=[("type", str), ("num", int), ("max_depth", int)],
    signature="[object_type=Request] [num=200 [max_depth=10]]",
)  # fmt: skip
def objgraph(state: State, num: int = 200, max_depth: int = 10, type: str = "Request") -> Any:
    """Create graph of uncollected objects (memory-leak debugging)."""
    try:
        drawing: Any = import_module("objgraph")
    except ImportError:
        raise ImportError("Requires the objgraph library") from None
    with tempfile.NamedTemporaryFile(prefix="cobjg", suffix=".png", delete=False) as file:
        objects = drawing.by_type(type)[:num]
        drawing.show_backrefs(objects, max_depth=max_depth, highlight=lambda v: v in objects, filename=file.name)
        return {"filename": file.name}


# Commands about tasks


@control_command(variadic="task_id", signature="[id1 [id2 [... [idN]]]]")
def revoke(state: State, task_id: Any, terminate: bool = False, signal: Any = None) -> Any:
    """Revoke task by task id (or list of ids)."""
    ids = [task_id] if isinstance(task_id, str) else list(task_id)
    state.app.control.revoke(ids, terminate=terminate, signal=signal or "SIGTERM")
    return {"ok": told_of_revoke(ids, terminate=terminate)}


@control_command(args=[("signal", str)], variadic="task_id", signature="<signal> [id1 [id2 [... [idN]]]]")
def terminate(state: State, signal: Any, task_id: Any) -> Any:
    """Terminate task by task id (or list of ids)."""
    return revoke(state, task_id, terminate=True, signal=signal)


@control_command(variadic="headers", signature="[key1=value1 [key2=value2 [... [keyN=valueN]]]]")
def revoke_by_stamped_headers(state: State, headers: Any, terminate: bool = False, signal: Any = None) -> Any:
    """Revoke task by header (or list of headers)."""
    options = {"terminate": terminate, "signal": signal or "SIGTERM"}
    [reply] = state.app.control.revoke_by_stamped_headers(headers, state.hostname, reply=True, **options)
    return reply[state.hostname]


def told_of_revoke(ids: list[str], *, terminate: bool) -> str:
    """Return the words of a reply to ``revoke``."""
    return f"terminate: {', '.join(ids)}" if terminate else f"tasks {', '.join(ids)} flagged as revoked"


def told_of_stamps(headers: Any, found: Any, *, terminate: bool) -> str:
    """Return the words of a reply to ``revoke_by_stamped_headers``."""
    if not terminate:
        return f"headers {headers} flagged as revoked, but not terminated"
    return f"headers {headers} revoked" if found else f"headers {headers} were not terminated"


@control_command(
    args=[("task_name", str), ("rate_limit", str)], signature="<task_name> <rate_limit (e.g., 5/s | 5/m | 5/h)>"
)
def rate_limit(state: State, task_name: str, rate_limit: Any) -> Any:
    """Tell worker(s) to modify the rate limit for a task by type."""
    if task_name not in state.app.tasks:
        return {"error": "unknown task"}
    return {"error": NO_LIMITS} if rate_limit not in (None, 0, "0", "") else {"ok": "rate limit disabled successfully"}


@control_command(
    args=[("task_name", str), ("soft", float), ("hard", float)], signature="<task_name> <soft_secs> [hard_secs]"
)
def time_limit(state: State, task_name: str, hard: float | None = None, soft: float | None = None) -> Any:
    """Tell worker(s) to modify the time limit for task by type."""
    task = state.app.tasks.get(task_name)
    if task is None:
        return {"error": "unknown task"}
    task.soft_time_limit, task.time_limit = soft, hard
    logger.info("new time limits for tasks of type %s: soft=%s hard=%s", task_name, soft, hard)
    return {"ok": "time limits set successfully"}


@control_command()
def enable_events(state: State) -> Any:
    """Tell worker(s) to send task-related events."""
    return {"error": NO_DISPATCHER}


@control_command()
def disable_events(state: State) -> Any:
    """Tell worker(s) to stop sending task-related events."""
    return {"error": NO_DISPATCHER}


@control_command()
def election(state: State, id: str, topic: str, action: Any = None) -> Any:
    """Hold election."""
    return {"error": NO_ELECTION}


# Commands that the supervisor of a node carries out

for _info in (
    ("ping", "inspect", 0.2, "Ping worker(s).", None, None),
    ("stats", "inspect", 1.0, "Request worker statistics/information.", None, None),
    ("heartbeat", "control", 1.0, "Tell worker(s) to renew their leases immediately.", None, None),
    ("shutdown", "control", 1.0, "Shutdown worker(s).", None, None),
    ("quiet", "control", 1.0, "Tell worker(s) to claim no more tasks.", None, None),
    ("resume", "control", 1.0, "Tell quiet worker(s) to claim tasks again.", None, None),
    ("pool_grow", "control", 1.0, "Grow pool by n processes/threads.", "[N=1]", [("n", int)]),
    ("pool_shrink", "control", 1.0, "Shrink pool by n processes/threads.", "[N=1]", [("n", int)]),
    ("pool_restart", "control", 1.0, "Restart execution pool.", None, None),
    ("autoscale", "control", 1.0, "Modify autoscale settings.", "[max [min]]", [("max", int), ("min", int)]),
    (
        "add_consumer", "control", 1.0, "Tell worker(s) to consume from task queue by name.",
        "<queue> [exchange [type [routing_key]]]",
        [("queue", str), ("exchange", str), ("exchange_type", str), ("routing_key", str)],
    ),
    (
        "cancel_consumer", "control", 1.0, "Tell worker(s) to stop consuming from task queue by name.", "<queue>",
        [("queue", str)],
    ),
):  # fmt: skip
    _name, _type, _timeout, _help, _signature, _args = _info
    Panel.meta[_name] = CommandInfo(None, _type, True, _timeout, _help, _signature, _args, None)

STANDARD = frozenset(Panel.meta) | frozenset(Panel.data)
"""The names of all of them."""
