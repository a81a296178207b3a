"""The verbs that count tasks: ``count`` and ``failures``."""

from __future__ import annotations

import datetime as dt
from typing import Any

import click

from lavoro.cli.common import clock, load_migrated
from lavoro.cli.options import APP_OPTION
from lavoro.cli.output import note, say, say_json, show_table
from lavoro.cli.schemas import json_option
from lavoro.cli.task.filters import conditions, options
from lavoro.inspector import Count, Failures
from lavoro.store.census import KEYS


@click.command(short_help="Count tasks by stage, state, queue or name.")
@APP_OPTION
@click.option("--by", type=click.Choice([*KEYS]), default="stage", show_default=True, help="The value to count by.")
@json_option(dict[str, Count])
@click.pass_context
def count(context: click.Context, app: str | None, by: str, as_json: bool) -> None:
    """Count all tasks; with millions of them the numbers are estimates, and say so."""
    found = load_migrated(context, app)
    counts = found.inspector.counts(by)
    if as_json:
        say_json(counts)
    elif counts:
        show_table((by, "tasks"), list(counts.items()), whole=by)
    else:
        say("there are no tasks")


@click.command(short_help="Group what has failed by task and error.")
@APP_OPTION
@options("queue", "name", "error", "since", "until")
@json_option(Failures)
@click.pass_context
def failures(context: click.Context, /, app: str | None, as_json: bool, **given: Any) -> None:
    """Show the tasks that did not succeed, grouped by their names and errors: by default those of the last hour."""
    found = load_migrated(context, app)
    failed = found.inspector.failures(**conditions(found, given))
    if as_json:
        say_json(failed)
        return
    if failed.groups:
        show_failures(failed, found.timezone)
    else:
        say(f"nothing has failed since {clock(failed.since.replace(microsecond=0), found.timezone)}")
    if not failed.complete:
        note(f"there are more before {clock(failed.since, found.timezone)}: --until")


def show_failures(failed: Failures, zone: dt.tzinfo) -> None:
    """Print a table of failures."""
    rows = [
        (
            each.name, each.error, each.count, clock(each.first.replace(microsecond=0), zone),
            clock(each.last.replace(microsecond=0), zone), each.example, each.message or "",
        )
        for each in failed.groups
    ]  # fmt: skip
    show_table(
        ("task", "error", "tasks", "first", "last", "example", "message"), rows, title="Failures", whole="example"
    )
