"""Start-up functions that run once over all workers of a release."""

from __future__ import annotations

from typing import NamedTuple

from lavoro.store.tx import Tx


class Startup(NamedTuple):
    """One function of one release of an application."""

    application: str
    release: str
    name: str


class Standing(NamedTuple):
    """How far a function is."""

    over: bool
    worker: str
    """The process that runs it, or has run it."""


def begin(tx: Tx, startup: Startup, *, worker_id: int) -> bool:
    """Give the function to a worker; return whether it may run it: no other does, or has done."""
    return bool(tx.run("begin_startup", {**startup._asdict(), "worker_id": worker_id}))


def standing(tx: Tx, startup: Startup) -> Standing | None:
    """Return how far the function is; None if no worker has begun it."""
    row = tx.row("fetch_startup", startup._asdict())
    return Standing(*row) if row is not None else None


def end(tx: Tx, startup: Startup, *, worker_id: int) -> bool:
    """Record that the function has run; return whether the worker still had it."""
    return bool(tx.run("end_startup", {**startup._asdict(), "worker_id": worker_id}))
