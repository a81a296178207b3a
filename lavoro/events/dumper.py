"""Writes events as lines of text, as they come."""

from __future__ import annotations

import sys
from datetime import datetime, timezone
from typing import Any

from lavoro.events.event import Told
from lavoro.events.order import LRU
from lavoro.runtime.current_app import app_or_default

HUMAN_TYPES = {"worker-offline": "shutdown", "worker-online": "started", "worker-heartbeat": "heartbeat"}
NAMED = 4096
"""Tasks whose call is written again with each of their events."""


def humanize_type(type: str) -> str:
    """Return a type in words."""
    return HUMAN_TYPES.get(type.lower(), type.lower().replace("-", " "))


class Dumper:
    """Writes events to a file, one a line."""

    def __init__(self, out: Any = None) -> None:
        self.out = sys.stdout if out is None else out
        self._calls = LRU(NAMED)

    def say(self, msg: str) -> None:
        """Write a line at once, for a pipe."""
        print(msg, file=self.out, flush=True)

    def on_event(self, ev: Told) -> None:
        """Write an event; a handler for a receiver."""
        fields = dict(ev)
        at = datetime.fromtimestamp(fields.pop("timestamp"), timezone.utc)
        type, hostname = fields.pop("type").lower(), fields.pop("hostname", "")
        if type.startswith("task-"):
            uuid = fields.pop("uuid", "")
            if type in ("task-received", "task-sent"):
                name, args, kwargs = (fields.pop(field) for field in ("name", "args", "kwargs"))
                self._calls[uuid] = f"{name}({uuid}) args={args} kwargs={kwargs}"
            self.format_task_event(hostname, at, type, self._calls.get(uuid, uuid), fields)
        else:
            self.format_task_event(hostname, at, type, "", fields)

    def format_task_event(self, hostname: str, timestamp: datetime, type: str, task: str, event: Told) -> None:
        """Write an event about a call."""
        fields = ", ".join(f"{name}={event[name]}" for name in sorted(event))
        words = " ".join(filter(None, (task, fields)))
        self.say(f"{hostname} [{timestamp}] {humanize_type(type)}{':' * bool(fields)} {words}".rstrip())


def evdump(app: Any = None, out: Any = None) -> None:
    """Write events until the process is interrupted."""
    dumper = Dumper(out)
    dumper.say("-> evdump: starting capture...")
    app_or_default(app).events.Receiver(handlers={"*": dumper.on_event}).capture()
