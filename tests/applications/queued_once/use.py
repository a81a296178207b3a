"""Call tasks twice before a worker is there, or once more when all are over, and print what happens."""

import json
import os
import sys
from pathlib import Path

from celery.result import AsyncResult
from celery_once import AlreadyQueued
from tasks import collect, report, send


def locks():
    """Return how many calls are waiting."""
    return len(list(Path(os.environ["LOCKS"]).iterdir()))


def first():
    """Call each twice."""
    answers = {"ids": [report.delay(2025).id, send.delay(2025, "ada").id, collect.delay(2).id, report.delay(2026).id]}
    try:
        report.apply_async((2025,))
    except AlreadyQueued as error:
        answers["refused"] = 0 < error.countdown <= 3600
    again = send.delay(2025, to="bob")
    return {**answers, "graceful": [type(again).__name__, again.state], "locks": locks()}


def then(*ids):
    """Wait for the calls, and call one again."""
    values = [AsyncResult(id).get(timeout=60) for id in ids]
    return {"values": [*values, report.delay(2025).get(timeout=60)]}


print(json.dumps(first() if len(sys.argv) == 1 else then(*sys.argv[1:])))
