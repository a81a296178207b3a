"""Tells changes of tasks as Celery's events, with the times of their rows."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import Any, NamedTuple

from lavoro import serialization, states
from lavoro.calling import redaction
from lavoro.events.event import Told
from lavoro.store.events import Change
from lavoro.text.printable import described

LONGEST = 1024
"""Characters of the repr of a result, of a task that is not registered here."""
TOO_LONG = "<too long to be shown>"
SENDER = "gen@unknown"
"""The node name of an event ``task-sent``: a row does not tell which process has sent it."""


class Seen(NamedTuple):
    """The events of a task that the monitor was told before."""

    sent: bool = False
    received: bool = False
    begun: bool = False


class Teller:
    """Tells the events of one change after the other, for an application that knows some of the tasks."""

    def __init__(self, app: Any, *, sent: bool) -> None:
        self._app = app
        self._sent = sent
        """Whether sent tasks are told: the setting ``task_send_sent_event``."""

    def tell(self, change: Change, seen: Seen, *, node: str, now: float) -> Iterator[Told]:
        """Yield the events of a change of a task, and those before it that were not told; ``node`` stands for none."""
        if change.kind == "event":
            yield from _of_code(change)
            return
        task = self._app.tasks.get(change.name)
        options = _options(change)
        uuid = _id(change, options)
        common = {"uuid": uuid, "hostname": change.node or node, "pid": change.pid}
        call = self._call(change, options, task)
        if self._sent and not seen.sent:
            place = {"queue": change.queue, "exchange": "", "routing_key": change.queue}
            yield _event("task-sent", change.created, uuid=uuid, hostname=SENDER, pid=None, **call, **place)
        if change.kind == "waiting" or (task is not None and not task.send_events):
            return
        claimed = change.at if change.started is None else change.started
        if not seen.received:
            yield _event("task-received", claimed, **common, **call)
        if not seen.begun and _has_begun(change):
            yield _event("task-started", _beginning(change, claimed, now if seen.received else claimed), **common)
        if change.kind != "running":
            yield from self._end(change, common, task)

    def _call(self, change: Change, options: Told, task: Any) -> Told:
        args, kwargs = self._arguments(change, options, task)
        return {
            "name": change.name, "args": args, "kwargs": kwargs,
            "root_id": options.get("root_id") or _id(change, options), "parent_id": options.get("parent_id"),
            "retries": change.retries - (change.kind == "attempt"),
            "eta": None if change.due is None else change.due.isoformat(),
            "expires": None if change.expires is None else change.expires.isoformat(),
        }  # fmt: skip

    def _arguments(self, change: Change, options: Told, task: Any) -> tuple[str, str]:
        """Return the reprs of the arguments, without what the setting ``lavoro_redact`` names."""
        if change.packed:
            args = kwargs = f"<{options.get('content_type')}>"
        elif (args_read := _read(change.args)) is None and change.args is not None:
            args = kwargs = TOO_LONG
        else:
            values, named = tuple(args_read or ()), _read(change.kwargs) or {}
            if task is not None:
                args, kwargs = task.__shown__(values, named)
            else:
                args, kwargs = redaction.shown(values, named, names=(), patterns=self._app.conf.lavoro_redact)
        return str(options.get("argsrepr") or args), str(options.get("kwargsrepr") or kwargs)

    def _end(self, change: Change, common: Told, task: Any) -> Iterator[Told]:
        at, value = change.at, _read(change.result)
        kind = value.get("exc_type") if isinstance(value, dict) else None
        match change.state:
            case states.SUCCESS:
                most = LONGEST if task is None else task.resultrepr_maxsize
                text = TOO_LONG if change.result is None else described(value, most)
                yield _event("task-succeeded", at, **common, result=text, runtime=change.runtime)
            case states.FAILURE if kind == "Reject":
                yield _event("task-failed", at, **common, exception=_exception(value), traceback=change.traceback)
                yield _event("task-rejected", at, **common, requeue=False)
            case states.REJECTED if change.kind == "attempt":
                yield _event("task-rejected", at, **common, requeue=True)
            case states.FAILURE:
                yield _event("task-failed", at, **common, exception=_exception(value), traceback=change.traceback)
            case states.RETRY if change.kind == "attempt":
                yield _event("task-retried", at, **common, exception=_exception(value), traceback=change.traceback)
            case states.REVOKED:
                words = value.get("exc_message") if isinstance(value, dict) else None
                word = words[0] if isinstance(words, list) and words else ""
                ended = word == "terminated"
                yield _event(
                    "task-revoked", at, **common, terminated=ended, signum=int(signal.SIGTERM) if ended else None,
                    expired=word == "expired",
                )  # fmt: skip


def _event(type: str, at: float, **fields: Any) -> Told:
    return {"type": type, "timestamp": at, **fields}


def _of_code(change: Change) -> Iterator[Told]:
    fields = _read(change.args)
    if isinstance(fields, dict):
        yield {"timestamp": change.at, **fields, "type": change.name}


def _has_begun(change: Change) -> bool:
    """Tell whether the function of the task was called: not if it was revoked before."""
    if change.kind == "running":
        return change.active
    return change.started is not None and (change.state != states.REVOKED or change.runtime is not None)


def _beginning(change: Change, claimed: float, otherwise: float) -> float:
    """Return when a task began: of one that is over, its run time before its end, but not before its claim."""
    if change.kind == "running":
        return otherwise
    return claimed if change.runtime is None else max(claimed, change.at - change.runtime)


def _options(change: Change) -> Told:
    found = _read(change.options)
    return found if isinstance(found, dict) else {}


def _id(change: Change, options: Told) -> str:
    return str(options.get("task_id") or change.id)


def _exception(value: Any) -> str:
    if isinstance(value, dict) and "exc_type" in value:
        return described(serialization.loads_exception(value), LONGEST)
    return described(value, LONGEST)


def _read(text: str | None) -> Any:
    """Read JSON; None for none, and for a text that a person has damaged."""
    if text is None:
        return None
    try:
        return serialization.loads(text)
    except ValueError:
        return None
