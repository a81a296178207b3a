"""The verbs that change and run schedules."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import click

from lavoro.app import Lavoro
from lavoro.beat.export import from_json
from lavoro.cli.common import app_with_tasks, clock, time_of
from lavoro.cli.completion import names_of
from lavoro.cli.options import APP_OPTION
from lavoro.cli.output import say, say_json
from lavoro.cli.run import read_arguments
from lavoro.cli.schedule.common import SCHEDULE, as_dict
from lavoro.cli.schemas import fields, json_option, listed
from lavoro.schedules.entry import MISSED, OVERLAP
from lavoro.text.plural import counted
from lavoro.text.printable import plain

NAMES = click.argument("names", metavar="NAME...", shell_complete=names_of("schedule"), nargs=-1, required=True)
OVERLAP_OPTION = click.option(
    "--overlap", type=click.Choice(OVERLAP), help="If the task of the last tick has not ended; default: its rule."
)


@click.command()
@APP_OPTION
@json_option(fields(name=str, task_id=str))
@OVERLAP_OPTION
@click.argument("name", shell_complete=names_of("schedule"))
@click.pass_context
def run(context: click.Context, app: str | None, as_json: bool, overlap: str | None, name: str) -> None:
    """Send the task of a schedule now, and print the id of the task; its next tick comes as without it."""
    result = app_with_tasks(context, app).schedules.run(name, overlap=overlap)
    say_json({"name": name, "task_id": result.id}) if as_json else say(str(result.id))


@click.command()
@APP_OPTION
@json_option(fields(name=str, times=list[dt.datetime], already=int, task_ids=list[str]))
@OVERLAP_OPTION
@click.option("--preview", is_flag=True, help="Send nothing, and show the times.")
@click.option("--most", type=click.IntRange(1), default=1000, show_default=True, help="The most times.")
@click.option("--forgotten", is_flag=True, help="Also times from before the ticks that are kept.")
@click.argument("name", shell_complete=names_of("schedule"))
@click.argument("start", metavar="FROM")
@click.argument("end", metavar="TO")
@click.pass_context
def backfill(
    context: click.Context, /, app: str | None, as_json: bool, name: str, start: str, end: str, preview: bool,
    **options: Any,
) -> None:  # fmt: skip
    """Send the task of a schedule for each time that has passed and for which it was not sent.

    FROM and TO are times such as 2027-01-31T09:00, in the zone of the schedule, or with one of their own.
    """
    found = app_with_tasks(context, app)
    done = found.schedules.backfill(name, time_of(start), time_of(end), preview=preview, **options)
    if as_json:
        ids = [result.id for result in done.results]
        say_json({"name": name, "times": done.times, "already": done.already, "task_ids": ids})
        return
    if preview:
        for at in done.times:
            say(clock(at, found.timezone))
    verb = "would be sent" if preview else "sent"
    say(f"{counted(len(done.times), 'task')} {verb}, {done.already:,} had been sent before")


@click.command()
@APP_OPTION
@json_option(fields(paused=list[str]))
@NAMES
@click.pass_context
def pause(context: click.Context, app: str | None, as_json: bool, names: tuple[str, ...]) -> None:
    """Let no tick of these schedules come until they are resumed."""
    _change(app_with_tasks(context, app), "pause", names, as_json=as_json)


@click.command()
@APP_OPTION
@json_option(fields(resumed=list[str]))
@NAMES
@click.pass_context
def resume(context: click.Context, app: str | None, as_json: bool, names: tuple[str, ...]) -> None:
    """Let the ticks of these schedules come again, from now on; also where an error has ended them."""
    _change(app_with_tasks(context, app), "resume", names, as_json=as_json)


@click.command()
@APP_OPTION
@json_option(fields(deleted=list[str]))
@NAMES
@click.pass_context
def delete(context: click.Context, app: str | None, as_json: bool, names: tuple[str, ...]) -> None:
    """Delete these schedules; the next worker that starts stores those of its code again."""
    _change(app_with_tasks(context, app), "delete", names, as_json=as_json)


def _change(app: Lavoro, verb: str, names: tuple[str, ...], *, as_json: bool) -> None:
    getattr(app.schedules, verb)(*names)
    done = f"{verb.rstrip('e')}ed"
    say_json({done: list(names)}) if as_json else say(plain(f"{done}: {', '.join(names)}"))


@click.command()
@APP_OPTION
@json_option(listed(SCHEDULE))
@click.option("--from-file", type=click.Path(exists=True, dir_okay=False), help="Entries, as `export --format json`.")
@click.option("--replace", is_flag=True, help="Change a schedule of that name.")
@click.option("--paused", is_flag=True, help="Let no tick come until it is resumed.")
@click.option("--tz", metavar="ZONE", help="The zone of its times; default: the application's.")
@click.option("--missed", type=click.Choice(MISSED), help="Ticks of a time without worker.")
@click.option("--missed-most", type=click.IntRange(1), help="The most ticks that `all` catches up.")
@click.option("--missed-age", type=float, metavar="SECONDS", help="The age of the oldest that it catches up.")
@click.option("--overlap", type=click.Choice(OVERLAP), help="If the task of the last tick has not ended.")
@click.option("--jitter", type=float, metavar="SECONDS", help="Ticks come up to so much later, at random.")
@click.option("--start", metavar="TIME", help="No tick comes before.")
@click.option("--end", metavar="TIME", help="No tick comes after.")
@click.option("--most-runs", type=click.IntRange(1), help="The number of ticks after which it ends.")
@click.option("-Q", "--queue", help="The queue of the task.")
@click.option("--expires", type=float, metavar="SECONDS", help="A task that has not started by then is dropped.")
@click.option("-o", "--option", "options", multiple=True, metavar="NAME=JSON", help="Another option of the call.")
@click.argument("name", required=False)
@click.argument("schedule", required=False)
@click.argument("task", required=False)
@click.argument("arguments", metavar="[ARG | NAME=ARG]...", nargs=-1)
@click.pass_context
def add(
    context: click.Context, /, app: str | None, as_json: bool, from_file: str | None, replace: bool, paused: bool,
    name: str | None, schedule: str | None, task: str | None, arguments: tuple[str, ...], **given: Any,
) -> None:  # fmt: skip
    """Add a schedule, or all of a file.

    SCHEDULE is a crontab ('0 9 * * mon-fri'), a phrase ('@daily', '@every 90s', '@at 2027-01-01T00:00:00Z'), or a
    number of seconds. Each ARG is JSON, or else a text.
    """
    if (from_file is None) != bool(name and schedule and task):
        raise click.UsageError("give NAME, SCHEDULE and TASK, or --from-file")
    found = app_with_tasks(context, app)
    if from_file is not None:
        entries = _entries(from_file)
    else:
        args, kwargs = read_arguments(arguments)
        calls = {"queue": given.pop("queue"), "expires": given.pop("expires")}
        options = {key: value for key, value in calls.items() if value is not None} | _options(given.pop("options"))
        rules = {key: value for key, value in given.items() if value is not None}
        entry = {"schedule": _seconds(str(schedule)), "task": task, "args": args, "kwargs": kwargs, "options": options}
        entries = {str(name): {**entry, **rules}}
    with found.database.tx() as tx, tx.connection.transaction(), found.transaction(tx.connection):
        made = [_create(found, each, entry, replace=replace, paused=paused) for each, entry in entries.items()]
    say_json([as_dict(each) for each in made]) if as_json else say(plain(f"added: {', '.join(entries)}"))


def _create(app: Lavoro, name: str, entry: dict[str, Any], *, replace: bool, paused: bool) -> Any:
    """Create a schedule of an entry; one that lacks its times or its task is refused as such."""
    entry = {"schedule": None, "task": None, **entry}
    if not entry["task"]:
        raise click.ClickException(f"the schedule {name!r} names no task: give it 'task'")
    return app.schedules.create(name, replace=replace, paused=bool(entry.pop("paused", False)) or paused, **entry)


def _entries(file: str) -> dict[str, dict[str, Any]]:
    try:
        return from_json(Path(file).read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise click.ClickException(f"--from-file: {file!r} cannot be read: {error}") from None


def _options(texts: tuple[str, ...]) -> dict[str, Any]:
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.isidentifier():
            raise click.UsageError(f"-o/--option: write it as NAME=JSON, not {text!r}")
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found


def _seconds(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return text
