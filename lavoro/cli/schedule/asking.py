"""The verbs that show schedules: ``list``, ``show``, ``next`` and ``history``."""

from __future__ import annotations

import datetime as dt

import click

from lavoro.app import Lavoro
from lavoro.cli.common import app_with_tasks, clock
from lavoro.cli.completion import names_of
from lavoro.cli.options import APP_OPTION
from lavoro.cli.output import LONGEST, narrow, say, say_json, show_table
from lavoro.cli.schedule.common import SCHEDULE, as_dict, zone_of
from lavoro.cli.schemas import fields, json_option, listed
from lavoro.exceptions import ScheduleError
from lavoro.store import entries
from lavoro.store.entries import PastTick, Problem, StoredSchedule
from lavoro.text.printable import cut, plain

SHOWN = 3
"""Next times that ``show`` tells."""
LEAST = frozenset({"task", "last"})
"""Columns that a narrow list leaves out."""


@click.command("list")
@APP_OPTION
@json_option(listed(SCHEDULE))
@click.pass_context
def listing(context: click.Context, app: str | None, as_json: bool) -> None:
    """List the schedules with their next and last ticks."""
    found = app_with_tasks(context, app)
    schedules, problems = [*found.schedules], _problems(found)
    if as_json:
        say_json([as_dict(each) for each in schedules])
    elif not schedules:
        say("no schedules: lavoro schedule add, or define them in code and start a worker")
    else:
        columns = [_columns(found, each) for each in schedules]
        titles = [title for title in columns[0] if title not in LEAST or not narrow()]
        show_table((*titles,), [tuple(each[title] for title in titles) for each in columns], whole="name")
        for name, problem in problems.items():
            say(plain(f"{name}: {cut(problem.words.removeprefix('has an error: '), LONGEST)}"))


def _columns(app: Lavoro, stored: StoredSchedule) -> dict[str, str]:
    zone = zone_of(app, stored)
    when = f"{stored.timing} ({stored.zone})" if stored.zone else stored.timing
    return {
        "name": stored.name, "when": when, "task": stored.task, "next": _second(stored.next_at, zone),
        "last": _second(stored.last_at, zone), "runs": f"{stored.runs:,}", "state": stored.state,
    }  # fmt: skip


def _second(at: dt.datetime | None, zone: dt.tzinfo) -> str:
    return clock(at and at.replace(microsecond=0), zone)


def _problems(app: Lavoro) -> dict[str, Problem]:
    with app.database.tx() as tx:
        return {problem.name: problem for problem in entries.problems(tx, limit=None)}


@click.command()
@APP_OPTION
@json_option(fields(StoredSchedule, state=str, upcoming=list[dt.datetime], problem=str | None))
@click.argument("name", shell_complete=names_of("schedule"))
@click.pass_context
def show(context: click.Context, app: str | None, as_json: bool, name: str) -> None:
    """Show all of one schedule: its definition, state, next times, and what is wrong with it."""
    found = app_with_tasks(context, app)
    stored, problem = found.schedules.get(name), _problems(found).get(name)
    try:
        times = [*found.schedules.upcoming(name, SHOWN)]
    except ScheduleError:  # the error of a text that means nothing is in the row, or in the list of problems
        times = []
    if as_json:
        say_json({**as_dict(stored), "upcoming": times, "problem": problem and problem.words})
        return
    zone = zone_of(found, stored)
    shown = {key: value for key, value in as_dict(stored).items() if value not in (None, [], {}, False)}
    shown |= {key: clock(value, zone) for key, value in shown.items() if hasattr(value, "astimezone")}
    shown |= {"upcoming": ", ".join(clock(at, zone) for at in times) or "none"}
    shown |= {"problem": problem.words} if problem else {}
    for key, value in shown.items():
        say(plain(f"{key + ':':<14}{cut(str(value), 2000)}"))


@click.command("next")
@APP_OPTION
@json_option(list[dt.datetime])
@click.option("-n", "--count", type=click.IntRange(1), default=5, show_default=True, help="The number of times.")
@click.argument("name", shell_complete=names_of("schedule"))
@click.pass_context
def upcoming(context: click.Context, app: str | None, as_json: bool, count: int, name: str) -> None:
    """Show the next times of a schedule, one per line."""
    found = app_with_tasks(context, app)
    stored, times = found.schedules.get(name), found.schedules.upcoming(name, count)
    if as_json:
        say_json(times)
        return
    for at in times:
        say(clock(at, zone_of(found, stored)))
    if stored.paused_at is not None:
        say("it is paused: no tick comes until `lavoro schedule resume`", error=True)
    elif not times:
        say("no time comes any more", error=True)


@click.command()
@APP_OPTION
@json_option(list[PastTick])
@click.option("-n", "--count", type=click.IntRange(1), default=20, show_default=True, help="The number of ticks.")
@click.argument("name", shell_complete=names_of("schedule"))
@click.pass_context
def history(context: click.Context, app: str | None, as_json: bool, count: int, name: str) -> None:
    """Show the last ticks of a schedule, sent, skipped and failed; the latest first."""
    found = app_with_tasks(context, app)
    past = found.schedules.history(name, count)
    if as_json:
        say_json([tick._asdict() for tick in past])
        return
    if not past:
        found.schedules.get(name)  # raises for a name that there is not
        say("no ticks yet")
        return
    rows = []
    for tick in past:
        at = clock(tick.due_at, found.timezone)
        span = f"{at} to {clock(tick.until_at, found.timezone)}" if tick.until_at not in (None, tick.due_at) else at
        times = "over 1,000" if tick.times is None else "" if tick.times == 1 and narrow() else f"{tick.times:,}"
        late = "yes" if tick.late and tick.outcome == "sent" else ""
        rows.append((span, times, tick.outcome, late, tick.task_id or "", tick.reason or ""))
    show_table(("time", "ticks", "outcome", "late", "task", "reason"), rows, whole="task")
