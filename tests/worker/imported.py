"""The application of the tests of what an import leaves behind: written for one task at a time."""

from __future__ import annotations

import contextvars
import decimal
import threading
from typing import Any

import flask

from lavoro import signals
from tests.worker.app import app

site: contextvars.ContextVar[str] = contextvars.ContextVar("site", default="none")
customer: contextvars.ContextVar[str] = contextvars.ContextVar("customer", default="none")
received_in: list[str] = []
both_run = threading.Barrier(2)

site.set("shop")
decimal.getcontext().prec = 6
flask.Flask("shop").app_context().push()


class Caches:
    """Holds what is kept by thread."""

    local = threading.local()


class Counted(threading.local):
    """A local that makes its value in each thread: all tasks see it."""

    def __init__(self) -> None:
        self.count = 0


counted = Counted()
counted.count += 1
Caches.local.user, Caches.local.token = "ann", "1234"


@signals.worker_process_init.connect
def begin(**_: Any) -> None:
    """Set what each process sets."""
    customer.set("first")


@signals.task_received.connect
def hear(**_: Any) -> None:
    """Note the context of receivers."""
    received_in.append(site.get())


@app.task(name="see", bind=True)
def see(self: Any, meet: bool) -> list[Any]:
    """Tell what a task sees, and change it for no other."""
    before = decimal.getcontext().prec
    seen = [site.get(), customer.get(), before, flask.current_app.name, received_in[-1], counted.count]
    customer.set("changed")
    decimal.getcontext().prec = 3
    if meet:
        both_run.wait(30)
    decimal.getcontext().prec = before
    self.seen = seen
    return [*seen, getattr(Caches.local, "user", None)]
