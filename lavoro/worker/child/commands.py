"""Carries out the commands that need the application: Celery's questions, and functions of the application's own."""

from __future__ import annotations

import inspect
import json
import logging
import threading
from collections.abc import Callable
from typing import Any

from lavoro.control.panel import Panel, State
from lavoro.store import commands
from lavoro.text.failing import failure
from lavoro.text.printable import described
from lavoro.worker.child.import_context import inherited
from lavoro.worker.child.parts import Parts
from lavoro.worker.pipe import Message

logger = logging.getLogger("lavoro.worker")

LONGEST = 4 << 20
"""Characters of a reply."""


def carry_out(parts: Parts, order: Message) -> None:
    """Carry out a command in a thread of its own: a function of the application may take long."""
    threading.Thread(target=inherited(), args=(_carry_out, parts, order), name="lavoro-command", daemon=True).start()


def _carry_out(parts: Parts, order: Message) -> None:
    child, name = parts.settings.consumer, order["name"]
    logger.info("command %s of %s", name, order["sender"])
    state = State(child.app, parts.settings.hostname, consumer=child)
    try:
        value = call(name, state, order["arguments"])
    except Exception as error:  # the reply tells
        logger.exception("the command %s failed", name)
        value = {"error": failure(error)}
    if not order["replies"]:
        return
    text = json.dumps(value, default=described)
    if len(text) > LONGEST:
        text = json.dumps({"error": f"the reply has {len(text):,} characters, more than {LONGEST:,}"})
    with child.app.database.tx() as tx:
        commands.reply(tx, order["id"], node=parts.settings.hostname, text=text)


def call(name: str, state: State, arguments: dict[str, Any]) -> Any:
    """Call the function of a command; an unknown command or wrong arguments are an error in the reply."""
    function = Panel.data.get(name) or BUILT_IN.get(name)
    if function is None:
        return {"error": f"no such command: {name!r}; the worker's application has registered {sorted(Panel.data)}"}
    try:
        inspect.signature(function).bind(state, **arguments)
    except TypeError as error:
        return {"error": f"wrong arguments of the command {name!r}: {error}"}
    return function(state, **arguments)


# Celery's own


def _registered(state: State, taskinfoitems: list[str] | None = None, builtins: bool = False) -> list[str]:
    """List the tasks with the values of some of their attributes."""
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


def _conf(state: State, with_defaults: bool = False) -> Any:
    return state.app.conf.table(with_defaults=with_defaults)


def _report(state: State) -> Any:
    return {"ok": state.app.bugreport()}


def _hello(state: State, from_node: str, revoked: Any = None) -> Any:
    return None if from_node == state.hostname else {"revoked": [], "clock": 0}


def _time_limit(state: State, task_name: str, hard: float | None = None, soft: float | None = None) -> Any:
    task = state.app.tasks.get(task_name)
    if task is None:
        return {"error": "unknown task"}
    task.soft_time_limit, task.time_limit = soft, hard
    logger.info("new time limits for tasks of type %s: soft=%s hard=%s", task_name, soft, hard)
    return {"ok": "time limits set successfully"}


BUILT_IN: dict[str, Callable[..., Any]] = {
    "registered": _registered,
    "conf": _conf,
    "report": _report,
    "hello": _hello,
    "time_limit": _time_limit,
}
