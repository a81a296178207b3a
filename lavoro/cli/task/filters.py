"""The options that choose tasks, and the conditions of the inspector that they mean."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Callable
from typing import Any

import click

from lavoro.app import Lavoro
from lavoro.cli.common import time_of
from lavoro.cli.options import comma_separated
from lavoro.store.browsing import STAGES

NAMES = ("queue", "state", "stage", "name", "args", "worker", "since", "until", "error")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_AGE = re.compile(r"(\d+(?:\.\d+)?)([smhd])")

_OPTIONS = (
    click.option("-Q", "--queue", callback=comma_separated, metavar="A,B", help="On these queues."),
    click.option("--state", callback=comma_separated, metavar="A,B", help="In these states: FAILURE, RETRY ..."),
    click.option("--stage", type=click.Choice(STAGES), multiple=True, help="At these stages."),
    click.option("--name", metavar="PATTERN", help="With such a name; * and ? stand for any characters."),
    click.option("--args", metavar="JSON", help="With these arguments: an object, an array, or a JSON path."),
    click.option("--worker", metavar="NODE", help="Run by this node."),
    click.option("--since", metavar="AGE|TIME", help="Since then: 30m, 2h, 7d, or 2027-01-31T09:00."),
    click.option("--until", metavar="AGE|TIME", help="Until then."),
    click.option("--error", callback=comma_separated, metavar="A,B", help="Failed with these exceptions."),
)


def filters(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a verb the options that choose tasks."""
    return options(*NAMES)(function)


def options(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a verb those of the options that have these names."""

    def give(function: Callable[..., Any]) -> Callable[..., Any]:
        for name, option in reversed([*zip(NAMES, _OPTIONS, strict=True)]):
            if name in names:
                function = option(function)
        return function

    return give


def conditions(app: Lavoro, given: dict[str, Any]) -> dict[str, Any]:
    """Take the options that choose tasks out of all, and return the conditions that they are."""
    found = {name: given.pop(name) for name in NAMES if name in given}
    for name in ("since", "until"):
        found[name] = _time(app, found.get(name))
    if found.get("args") is not None:
        found["args"] = _arguments(found["args"])
    return {name: value for name, value in found.items() if value not in (None, ())}


def _time(app: Lavoro, text: str | None) -> dt.datetime | dt.timedelta | None:
    if text is None:
        return None
    if age := _AGE.fullmatch(text):
        return dt.timedelta(**{_UNITS[age[2]]: float(age[1])})
    time = time_of(text)
    return time if time.tzinfo is not None else time.replace(tzinfo=app.timezone)


def _arguments(text: str) -> Any:
    if text.startswith("$"):
        return text
    try:
        return json.loads(text)
    except ValueError:
        raise click.UsageError(
            f"--args: {text!r} is neither a JSON object or array nor a JSON path such as '$.kwargs.id == 7'"
        ) from None
