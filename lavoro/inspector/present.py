"""Answers about the present: counts, queues, workers, and what has failed lately."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

from lavoro.exceptions import InspectorError
from lavoro.inspector.filters import pattern_of, texts_of, time_of
from lavoro.inspector.listing import message_of
from lavoro.inspector.values import Count, Ended, FailureGroup, Failures, QueueInfo, WorkerInfo
from lavoro.store import census, failures, history
from lavoro.store import queues as store
from lavoro.store.census import NONE, Waiting
from lavoro.store.database import Database

LATELY = dt.timedelta(hours=1)
"""The time whose failures are grouped unless another one is asked for."""
_NOTHING = Waiting(NONE, NONE, None)


def counts(database: Database, by: str) -> dict[str, Count]:
    """Count all tasks, the largest number first."""
    if by not in census.KEYS:
        raise InspectorError(f"by is one of {', '.join(census.KEYS)}, not {by!r}")
    found = census.count(database, by)
    return {key: Count(*found[key]) for key in sorted(found, key=lambda key: (-found[key].value, key))}


def queues(database: Database, own: tuple[str, ...]) -> tuple[QueueInfo, ...]:
    """Describe the queues of the application, and others with tasks, workers, a pause or a busy past hour."""
    waiting, (running, held) = census.waiting(database), census.running_and_held(database)
    lately, (paused, served) = history.lately(database), store.paused_and_served(database)
    names = {*own, *waiting, *running, *held, *lately, *paused, *served}
    found = []
    for name in sorted(names):
        here, ended = waiting.get(name, _NOTHING), lately.get(name, (0, 0, 0, 0))
        found.append(
            QueueInfo(
                name, Count(*here.due), Count(*here.later), Count(*held.get(name, NONE)),
                Count(*running.get(name, NONE)), name in paused, name in served, here.oldest,
                Ended(*ended[:2]), Ended(*ended[2:]),
            )
        )  # fmt: skip
    return tuple(found)


def workers(database: Database) -> tuple[WorkerInfo, ...]:
    """Describe the live processes."""
    return tuple(
        WorkerInfo(
            each.node, each.process, each.host, each.pid, each.pool, each.slots, each.running, tuple(each.queues),
            each.started, each.seen, each.quiet,
        )
        for each in store.worker_status(database)
    )  # fmt: skip


def failed(database: Database, given: Mapping[str, Any]) -> Failures:
    """Group the failures of a time."""
    now = dt.datetime.now(dt.timezone.utc)
    until = time_of("until", given) or now + dt.timedelta(minutes=1)  # the database's clock may be ahead
    since = time_of("since", given) or min(until, now) - LATELY
    if since >= until:
        raise InspectorError(f"since={since} is not before until={until}: nothing fails in between")
    errors = tuple(error.rpartition(".")[2] for error in texts_of("error", given))
    wanted = failures.Wanted(since, until, texts_of("queue", given), pattern_of(given.get("name")), errors)
    found = failures.group(database, wanted)
    groups = tuple(
        FailureGroup(
            each.name, each.error, Count(each.tasks, "exact" if found.cut is None else "at_least"), each.first,
            each.last, each.example, message_of(each.message),
        )
        for each in found.groups
    )  # fmt: skip
    return Failures(groups, found.cut or since, found.cut is None)
