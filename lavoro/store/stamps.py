"""Revokes tasks by their stamps, those that wait and those that are sent later."""

from __future__ import annotations

import json
import uuid
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from lavoro.protocol.message import Job
from lavoro.store import tasks
from lavoro.store.tx import Tx

STAMPS = '"stamps"'
"""Stands in the options of each task with stamps."""


class Stamped(NamedTuple):
    """A task that has one of the stamps."""

    id: uuid.UUID
    header: str
    value: Any


def revoke(tx: Tx, stamps: Mapping[str, Any], *, cancel: str, running: bool) -> list[Stamped]:
    """Revoke the waiting tasks with one of these stamps, with ``running`` those that run too, and all to come.

    A stamp is a value or a list of them. Return the tasks that were found.
    """
    pairs = [(header, json.dumps(value)) for header, values in stamps.items() for value in _listed(values)]
    parameters = {"headers": [header for header, _ in pairs], "values": [value for _, value in pairs]}
    tx.execute("remember_stamps", parameters)  # first: a task that is sent meanwhile is found by its claim
    rows = tx.run("list_stamped", {**parameters, "running": running})
    found = [Stamped(id, header, json.loads(value)) for id, header, value in rows]
    if found:
        tasks.revoke(tx, list({each.id for each in found}), cancel=cancel)
    return found


def marked(tx: Tx, jobs: list[Job]) -> list[Job]:
    """Return claimed tasks, those with a revoked stamp as revoked; only tasks with stamps cost a statement."""
    stamped = [job.id for job in jobs if job.options is not None and STAMPS in job.options]
    if not stamped:
        return jobs
    revoked = {row[0] for row in tx.run("list_revoked_stamps", {"ids": stamped})}
    return [job._replace(revoked=True) if job.id in revoked else job for job in jobs]


def remembered(tx: Tx) -> dict[str, list[Any]]:
    """Return the stamps whose tasks must not start, by their names."""
    found: dict[str, list[Any]] = {}
    for header, value in tx.run("remembered_stamps"):
        found.setdefault(header, []).append(json.loads(value))
    return found


def forget(tx: Tx) -> None:
    """Let tasks with these stamps start again."""
    tx.execute("forget_stamps")


def _listed(values: Any) -> Collection[Any]:
    return values if isinstance(values, (list, tuple, set, frozenset)) else [values]
