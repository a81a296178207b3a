"""``lavoro history``: how many tasks ended in each minute, hour or day."""

from __future__ import annotations

from typing import Any

import click

from lavoro.cli.common import clock, load_migrated
from lavoro.cli.options import APP_OPTION
from lavoro.cli.output import say, say_json, show_table
from lavoro.cli.schemas import json_option
from lavoro.cli.task.filters import conditions, options
from lavoro.inspector import HistoryPoint
from lavoro.store.history import PERIODS


@click.command(short_help="Show how many tasks ended, and when.")
@APP_OPTION
@click.option("--by", type=click.Choice(["queue", "name"]), help="A line for each of these.")
@options("queue", "state", "name", "since", "until")
@json_option(list[HistoryPoint])
@click.argument("period", type=click.Choice([*PERIODS]), default="hour")
@click.pass_context
def history(
    context: click.Context, /, app: str | None, period: str, by: str | None, as_json: bool, **given: Any
) -> None:
    """Show how many tasks ended in each minute, hour or day (of UTC), and how long they ran and waited.

    Minutes are kept for 2 days, hours and days for 90.
    """
    found = load_migrated(context, app)
    points = found.inspector.history(period, by=by, **conditions(found, given))
    if as_json:
        say_json(points)
        return
    rows = [
        (
            clock(each.at, found.timezone), *[each.group or ""] * (by is not None), f"{each.finished:,}",
            f"{each.failed:,}", f"{each.retries:,}", _mean(each.runtime, each), f"{each.longest:.3f}",
            _mean(each.waited, each),
        )
        for each in points
    ]  # fmt: skip
    titles = [period, *[by or ""] * (by is not None), "ended", "failed", "retries", "run, s", "longest, s", "waited, s"]
    show_table(titles, rows, whole=period) if rows else say("no task has ended in that time")


def _mean(seconds: float, point: HistoryPoint) -> str:
    return f"{seconds / point.finished:.3f}" if point.finished else ""
