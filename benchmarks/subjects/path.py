"""An app whose worker notes when a call passes each stage on its way to its start, and the sender of such calls."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable
from typing import Any

import click

from benchmarks.stage.hits import mark
from benchmarks.subjects.produce import pace
from lavoro import Lavoro
from lavoro.store import offers, tasks
from lavoro.worker.child.claimer import Claimer
from lavoro.worker.child.offers import Offers

app = Lavoro("path", broker=os.environ.get("BENCHMARKS_DSN"))
passed = dict.fromkeys(("notified", "read", "there"), 0.0)
"""When the last call passed each stage; the first calls are found without a notification."""


def noting(function: Callable[..., Any], before: str, after: str) -> Callable[..., Any]:
    """Return the function with notes of when it was called and when it returned, if it brought anything."""

    def noted(*args: Any, **kwargs: Any) -> Any:
        begun = time.time()
        found = function(*args, **kwargs)
        if found or found is None:
            passed.update({before: begun, after: time.time()})
        return found

    return noted


@app.task(name="probe")
def probe(sent: float) -> None:
    """Record the seconds of each stage: until notified, until it is claimed or read, of that, until here."""
    now = time.time()
    stages = [sent, passed["notified"], passed["read"], passed["there"], now]
    for begin, end in itertools.pairwise(stages):
        mark(end - begin)


@click.command()
@click.argument("count", type=int)
@click.argument("rate", type=float)
def main(count: int, rate: float) -> None:
    """Send COUNT probes, RATE a second; record how long each call took."""
    for _ in pace(count, rate):
        before = time.time()
        probe.delay(before)
        mark(time.time() - before)


if __name__ == "__main__":
    main()
else:
    Claimer.notified = noting(Claimer.notified, "notified", "heard")  # type: ignore[method-assign]
    Offers.tell = noting(Offers.tell, "notified", "heard")  # type: ignore[method-assign]
    tasks.claim = noting(tasks.claim, "read", "there")
    offers.fetch = noting(offers.fetch, "read", "there")
