"""Sends the tasks of schedules that are due: a page of them in one transaction with their ticks."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import timedelta, timezone
from typing import Any, NamedTuple

from lavoro import serialization
from lavoro.beat.calls import call, value_of
from lavoro.beat.planning import Plan, Planned, plan
from lavoro.calling.outbox import Outbox, composed
from lavoro.calling.publish_signals import Announcement, tell_published
from lavoro.config.defaults import as_seconds
from lavoro.protocol.ids import task_uuid
from lavoro.protocol.message import Message
from lavoro.schedules import ParseException
from lavoro.schedules.entry import Entry
from lavoro.schedules.texts import Timing, schedule_of
from lavoro.store import schedules
from lavoro.store.entries import StoredSchedule
from lavoro.store.errors import LOST, first_line
from lavoro.store.schedules import Advance, Due, Served, Tick
from lavoro.store.tx import Tx
from lavoro.store.uniques import Holders
from lavoro.text.printable import cut, described, told

logger = logging.getLogger("lavoro.beat")

PAGE = 250
"""Most schedules of one transaction: the first tasks start while the next page is sent."""
PATIENCE, IDLE = "5s", "5s"
"""The server ends the session of a worker that is stopped in the middle: others can then lock its schedules."""
LONGEST = 500
"""Most characters of an error that are kept."""


class ComposedTick(NamedTuple):
    """A tick with the messages of its task."""

    tick: Tick
    messages: list[Message]
    shown: list[Announcement]


class Work(NamedTuple):
    """All that a page does for one schedule."""

    due: Due
    prepared: list[ComposedTick]
    advance: Advance
    cancel: bool = False


def send_due(app: Any, tx: Tx, served: Served, codes: Mapping[str, Entry]) -> int:
    """Send the tasks of the schedules that are due, at most a page; return the number of schedules.

    ``codes`` has the entries of this process's code. A tick that another worker has recorded is not sent.
    """
    with tx.short_locks(PATIENCE, idle=IDLE):
        found = schedules.due(tx, served, limit=PAGE)
        if not found:
            return 0
        work = [_work(app, due, codes.get(due.name)) for due in found]
        for each in work:
            if each.cancel:
                app.revoke(str(each.due.last_task_id), terminate=True)
        prepared = [ready for each in work for ready in each.prepared]
        new = schedules.record(tx, [ready.tick for ready in prepared])
        sent = [ready for ready in prepared if (ready.tick.schedule, ready.tick.due_at) in new]
        _publish(app, tx, sent)
        schedules.advance(tx, [each.advance for each in work])
    tell_published([shown for ready in sent for shown in ready.shown])
    return len(found)


def _work(app: Any, due: Due, entry: Entry | None) -> Work:
    """Plan one schedule and compose its calls; an error ends it until its row is changed."""
    try:
        schedule = (
            entry.schedule if due.in_code and entry is not None else schedule_of(Timing(due.timing, due.zone), app)
        )
        planned = plan(schedule, due, deadline=app.conf.seconds("beat_cron_starting_deadline"))
    except Exception as error:
        text = _words(error)
        logger.error("the schedule %r cannot go on until it is changed: %s", due.name, text)
        return Work(due, [], Advance(due.name, None, None, error=text))
    prepared = [
        ComposedTick(Tick(due.name, skip.at, skip.until, skip.times, "skipped", True, skip.reason), [], [])
        for skip in planned.skip
    ]
    last = due.last_task_id
    for each in planned.send:
        ready = _prepare(app, due, entry, each, last)
        prepared.append(ready)
        last = ready.tick.task_id or last
    return Work(due, prepared, _advance(due, planned, prepared), planned.cancel)


def _advance(due: Due, planned: Plan, prepared: list[ComposedTick]) -> Advance:
    ticks = [ready.tick for ready in prepared]
    sent = [tick for tick in ticks if tick.outcome == "sent"]
    failed = next((tick.reason for tick in ticks if tick.outcome == "failed"), None)
    last = max((tick.until_at or tick.due_at for tick in ticks), default=None)
    skips = sum(tick.times or 0 for tick in ticks if tick.outcome == "skipped")
    return Advance(
        due.name, planned.next_at, planned.due_at, last, sent[-1].task_id if sent else None, len(sent), skips, failed
    )


def _prepare(app: Any, due: Due, entry: Entry | None, planned: Planned, before: Any) -> ComposedTick:
    """Compose the call of a tick; an error fails this tick, and the next one is tried again."""
    tick = Tick(due.name, planned.at, late=planned.late)
    try:
        _, outbox, id = compose(app, due, entry, planned, before)
    except Exception as error:
        text = _words(error)
        logger.error("the task of the schedule %r cannot be sent: %s", due.name, text)
        return ComposedTick(tick._replace(outcome="failed", reason=text), [], [])
    return ComposedTick(tick._replace(task_id=id), outbox.messages, outbox.shown)


def compose(
    app: Any, due: Due | StoredSchedule, entry: Entry | None, planned: Planned, before: Any
) -> tuple[Any, Outbox, Any]:
    """Call the task of a tick without storing it; return the result, the outbox with its messages, and the task's id.

    Of a group it is the id of the last task; None if a receiver or middleware has kept the call back.
    """
    with composed(app) as outbox:
        result = _send(app, due, entry, planned, before)
    id = task_uuid(getattr(result, "results", [result])[-1].id) if outbox.messages else None
    return result, outbox, id


def _send(app: Any, due: Due | StoredSchedule, entry: Entry | None, planned: Planned, before: Any) -> Any:
    """Call the task of a tick; return its result."""
    args, kwargs, options = called(due, entry)
    told = {"schedule": due.name, "at": planned.at.astimezone(timezone.utc).isoformat(), "late": planned.late}
    options = {**options, "tick": told}
    if planned.eta is not None and not options.keys() & {"eta", "countdown"}:
        options["eta"] = planned.eta
        if isinstance(options.get("expires"), (int, float, timedelta)):
            options["expires"] = planned.eta + timedelta(seconds=as_seconds(options["expires"]))
    if planned.behind and before is not None:
        options.update(blockers=[*options.get("blockers", ()), str(before)], failure_policy="run")
    return call(app, due.task, args, kwargs, options)


def called(due: Due | StoredSchedule, entry: Entry | None) -> tuple[list[Any], dict[str, Any], dict[str, Any]]:
    """Return the arguments and options of a schedule's calls: those of its row, or of its code."""
    if due.in_code and entry is not None:
        kwargs = {key: value_of(value) for key, value in entry.kwargs.items()}
        return [value_of(value) for value in entry.args], kwargs, dict(entry.options)
    given = (due.args, due.kwargs, due.options)
    read = [serialization.loads(each) if isinstance(each, str) else each for each in given]
    return list(read[0] or ()), dict(read[1] or {}), dict(read[2] or {})


def _words(error: Exception) -> str:
    """Return the words of an error; one that is not about the schedule says its class, too."""
    own = isinstance(error, (ValueError, ParseException))
    return cut(told(error) if own else described(error), LONGEST)


def _publish(app: Any, tx: Tx, sent: list[ComposedTick]) -> None:
    """Store the messages of all ticks; if one of them is refused, that of each tick on its own."""
    messages = [message for ready in sent for message in ready.messages]
    if not messages:
        return
    try:
        with tx.connection.transaction():
            holders = app.publish(messages, connection=tx.connection, signed=True) or {}
            for ready in sent:
                _skip_held(tx, ready, holders)
    except Exception as error:
        if isinstance(error.__cause__ or error, LOST):  # also a conflict: the next look repeats all of it
            raise
        if len(sent) == 1:
            _fail(tx, sent[0].tick, error)
            return
        for ready in sent:
            _publish(app, tx, [ready])


def _skip_held(tx: Tx, ready: ComposedTick, holders: Holders) -> None:
    """Record that a tick was skipped because another task holds the unique key of its task."""
    for message in ready.messages:
        if (holder := holders.get(message.id)) is not None:
            reason = f"the task {holder} holds the unique key of {message.name}"
            tx.execute("skip_tick", {"schedule": ready.tick.schedule, "due_at": ready.tick.due_at, "reason": reason})


def _fail(tx: Tx, tick: Tick, error: Exception) -> None:
    text = first_line(error)
    logger.error("the task of the schedule %r cannot be stored: %s", tick.schedule, text)
    tx.execute("fail_tick", {"schedule": tick.schedule, "due_at": tick.due_at, "reason": cut(text, LONGEST)})
