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
NO_ELECTION = "workers hold no elections: a task is claimed by one of them, and schedules have one leader"

# Questions that rows answer


@inspect_command(alias="dump_active")
def active(state: State, safe: bool = False) -> Any:
    """Tasks that run."""
    return _own(state).active(safe) or []


@inspect_command(alias="dump_reserved")
def reserved(state: State, safe: bool = False) -> Any:
    """Tasks that are claimed and have not begun."""
    return _own(state).reserved(safe) or []


@inspect_command(alias="dump_schedule")
def scheduled(state: State, safe: bool = False) -> Any:
    """Tasks for later."""
    return _own(state).scheduled(safe) or []


@inspect_command(alias="dump_revoked")
def revoked(state: State) -> Any:
    """Ids of tasks that must not start."""
    return _own(state).revoked() or []


@inspect_command()
def active_queues(state: State) -> Any:
    """Queues that are served."""
    return _own(state).active_queues() or []


@inspect_command(variadic="ids", signature="[id1 [id2 [... [idN]]]]")
def query_task(state: State, ids: Any) -> Any:
    """Tasks by their ids."""
    return _own(state).query_task(ids) or {}


@inspect_command()
def clock(state: State) -> Any:
    """The time."""
    return _own(state).clock() or {}


def _own(state: State) -> Any:
    return state.app.control.inspect(state.hostname)


# Questions about the application


@inspect_command(alias="dump_tasks", variadic="taskinfoitems", signature="[attr1 [attr2 [... [attrN]]]]")
def registered(state: State, taskinfoitems: list[str] | None = None, builtins: bool = False) -> list[str]:
    """Tasks that are known."""
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
    """Settings."""
    settings = state.app.conf
    return {"deprecated_settings": [], "include": settings.include, **settings.table(with_defaults=with_defaults)}


@inspect_command()
def report(state: State) -> Any:
    """Releases and settings."""
    return {"ok": state.app.bugreport()}


@inspect_command(visible=False)
def hello(state: State, from_node: str, revoked: Any = None) -> Any:
    """Answer a worker of Celery's that starts."""
    return None if from_node == state.hostname else {"revoked": _own(state).revoked() or [], "clock": 0}


# Memory


@inspect_command()
def memsample(state: State) -> str:
    """Resident memory."""
    SAMPLES.append(_shown(resident()))
    return SAMPLES[-1]


@inspect_command(args=[("samples", int)], signature="[n_samples=10]")
def memdump(state: State, samples: int = 10) -> str:
    """The last samples of `memsample`."""
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
    """Draw a graph of objects that are not collected."""
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
    """Keep tasks from starting."""
    ids = [task_id] if isinstance(task_id, str) else list(task_id)
    state.app.control.revoke(ids, terminate=terminate, signal=signal or "SIGTERM")
    return {"ok": told_of_revoke(ids, terminate=terminate)}


@control_command(args=[("signal", str)], variadic="task_id", signature="<signal> [id1 [id2 [... [idN]]]]")
def terminate(state: State, signal: Any, task_id: Any) -> Any:
    """End tasks that run."""
    return revoke(state, task_id, terminate=True, signal=signal)


@control_command(variadic="headers", signature="[key1=value1 [key2=value2 [... [keyN=valueN]]]]")
def revoke_by_stamped_headers(state: State, headers: Any, terminate: bool = False, signal: Any = None) -> Any:
    """Keep tasks with these stamps from starting."""
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
    """Start no more tasks of a name per time."""
    if task_name not in state.app.tasks:
        return {"error": "unknown task"}
    return {"error": NO_LIMITS} if rate_limit not in (None, 0, "0", "") else {"ok": "rate limit disabled successfully"}


@control_command(
    args=[("task_name", str), ("soft", float), ("hard", float)], signature="<task_name> <soft_secs> [hard_secs]"
)
def time_limit(state: State, task_name: str, hard: float | None = None, soft: float | None = None) -> Any:
    """Change the limits of a task."""
    task = state.app.tasks.get(task_name)
    if task is None:
        return {"error": "unknown task"}
    task.soft_time_limit, task.time_limit = soft, hard
    logger.info("new time limits for tasks of type %s: soft=%s hard=%s", task_name, soft, hard)
    return {"ok": "time limits set successfully"}


@control_command()
def election(state: State, id: str, topic: str, action: Any = None) -> Any:
    """Hold an election, as Celery's gossip does."""
    return {"error": NO_ELECTION}


# Commands that the supervisor of a node carries out

for _info in (
    ("ping", "inspect", 0.2, "Who answers.", None, None),
    ("stats", "inspect", 1.0, "Numbers of tasks, the pool, use of the system.", None, None),
    ("heartbeat", "control", 1.0, "Renew leases now.", None, None),
    ("enable_events", "control", 1.0, "Tell monitors of the tasks.", None, None),
    ("disable_events", "control", 1.0, "Tell monitors of no tasks.", None, None),
    ("shutdown", "control", 1.0, "Stop.", None, None),
    ("quiet", "control", 1.0, "Claim nothing; finish what runs, and stay.", None, None),
    ("resume", "control", 1.0, "Claim tasks again after `quiet`.", None, None),
    ("pool_grow", "control", 1.0, "Add slots.", "[N=1]", [("n", int)]),
    ("pool_shrink", "control", 1.0, "Take slots away.", "[N=1]", [("n", int)]),
    ("pool_restart", "control", 1.0, "Replace all processes.", None, None),
    (
        "autoscale", "control", 1.0, "Choose the number of slots between two bounds.", "<max> <min>",
        [("max", int), ("min", int)],
    ),
    ("add_consumer", "control", 1.0, "Serve one more queue.", "<queue>", [("queue", str)]),
    ("cancel_consumer", "control", 1.0, "Serve a queue no longer.", "<queue>", [("queue", str)]),
):  # fmt: skip
    _name, _type, _timeout, _help, _signature, _args = _info
    Panel.meta[_name] = CommandInfo(None, _type, True, _timeout, _help, _signature, _args, None)

STANDARD = frozenset(Panel.meta) | frozenset(Panel.data)
"""The names of all of them."""
