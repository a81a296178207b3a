"""Carries out the commands that need the application: Celery's questions, and functions of the application's own."""

from __future__ import annotations

import inspect
import logging
import threading
from typing import Any

from lavoro.control.consumer import Consumer
from lavoro.control.panel import Panel, State
from lavoro.control.standard import STANDARD
from lavoro.store import commands
from lavoro.text.failing import failure
from lavoro.worker.child.import_context import inherited
from lavoro.worker.child.parts import Parts
from lavoro.worker.pipe import Message

logger = logging.getLogger("lavoro.worker")


def carry_out(parts: Parts, order: Message) -> None:
    """Carry out a command in a thread of its own: a function of the application may take long."""
    threading.Thread(target=inherited(), args=(_carry_out, parts, order), name="lavoro-command", daemon=True).start()


def _carry_out(parts: Parts, order: Message) -> None:
    child, name = parts.settings.consumer, order["name"]
    logger.info("command %s of %s", name, order["sender"])
    consumer = Consumer(child.app, parts.settings.hostname, acts=order["replies"])
    state = State(child.app, parts.settings.hostname, consumer=consumer)
    try:
        value = call(name, state, order["arguments"])
    except Exception as error:  # the reply tells
        logger.exception("the command %s failed", name)
        value = {"error": failure(error)}
    if not order["replies"]:
        return
    text = commands.as_json(value)
    with child.app.database.tx() as tx:
        commands.reply(tx, order["id"], node=parts.settings.hostname, text=text)


def call(name: str, state: State, arguments: dict[str, Any]) -> Any:
    """Call the function of a command; an unknown command or wrong arguments are an error in the reply."""
    function = Panel.data.get(name)
    if function is None:
        own = sorted(set(Panel.meta) - STANDARD)
        return {"error": f"no such command: {name!r}; the application has registered {', '.join(own) or 'none'}"}
    try:
        inspect.signature(function).bind(state, **arguments)
    except TypeError as error:
        return {"error": f"wrong arguments of the command {name!r}: {error}"}
    return function(state, **arguments)
