"""``lavoro queue``: list, show, pause, resume, purge and empty queues into others."""

from __future__ import annotations

from typing import NamedTuple

import click

from lavoro.app import Lavoro
from lavoro.cli.common import load_migrated
from lavoro.cli.completion import names_of
from lavoro.cli.exits import Exit, Failure
from lavoro.cli.options import APP_OPTION
from lavoro.cli.output import note, say, say_json, show_table
from lavoro.cli.purge import Deleted, empty_queues
from lavoro.cli.schemas import fields, json_option
from lavoro.cli.task.changing import Changed, Verb, change_all, told
from lavoro.cli.task.counting import show_failures
from lavoro.inspector import Ended, Failures, QueueInfo
from lavoro.store import queues as store
from lavoro.text.printable import plain

NAMES = click.argument("names", metavar="QUEUE...", shell_complete=names_of("queue"), nargs=-1, required=True)


@click.group(short_help="List, show, pause and purge queues.")
@APP_OPTION
@click.pass_context
def queue(context: click.Context, app: str | None) -> None:
    """List, show, pause, resume and purge queues."""
    context.obj = app or context.obj


@queue.command("list")
@APP_OPTION
@json_option(list[QueueInfo])
@click.pass_context
def listing(context: click.Context, app: str | None, as_json: bool) -> None:
    """List the queues that have tasks or workers, are paused, or are the application's; with their last hour."""
    found = load_migrated(context, app).inspector.queues()
    say_json(found) if as_json else _show(found)


def _show(queues: tuple[QueueInfo, ...]) -> None:
    """Print a table of queues; columns that say nothing are left out."""
    holding, marked = any(row.held.value for row in queues), any(row.paused or not row.served for row in queues)
    titles = ["queue", "waiting", "scheduled", *["held"] * holding, "running", "oldest", "ended in 1 h", "failed"]
    rows = []
    for row in queues:
        counts = [row.waiting, row.scheduled, *[row.held] * holding, row.running]
        oldest = "" if row.latency is None else f"{row.latency:.0f} s"
        note = ", ".join(["paused"] * row.paused + ["no worker serves it"] * (not row.served))
        rows.append([row.name, *counts, oldest, f"{row.hour.tasks:,}", f"{row.hour.failed:,}", *[note] * marked])
    show_table([*titles, *["note"] * marked], rows, title="Queues")


class Shown(NamedTuple):
    """A queue, with its workers and what has failed in it for an hour."""

    queue: QueueInfo
    nodes: list[str]
    failures: Failures


@queue.command()
@APP_OPTION
@json_option(Shown)
@click.argument("name", metavar="QUEUE", shell_complete=names_of("queue"))
@click.pass_context
def show(context: click.Context, app: str | None, as_json: bool, name: str) -> None:
    """Show the tasks of a queue, the workers that serve it, and what has failed in it in the last hour."""
    found = load_migrated(context, app)
    here = next((each for each in found.inspector.queues() if each.name == name), None)
    if here is None:
        raise Failure(f"no task, no worker and no setting names the queue {name!r}", Exit.UNKNOWN)
    shown = Shown(here, store.workers_of(found.database, name)[0], found.inspector.failures(queue=name))
    if as_json:
        say_json(shown)
        return
    latency = "no task is due" if here.latency is None else f"{here.latency:.1f} s"
    for title, value in (
        ("queue", f"{name}{' (paused)' * here.paused}"),
        ("workers", ", ".join(shown.nodes) or "no worker serves it"),
        *((stage, getattr(here, stage)) for stage in ("waiting", "scheduled", "held", "running")),
        ("oldest", latency),
        *((f"1 {name}", f"{ended.tasks:,} ended, {ended.failed:,} of them failed") for name, ended in _ended(here)),
    ):
        say(plain(f"{f'{title}:':<11}{value}"))
    if shown.failures.groups:
        show_failures(shown.failures, found.timezone)


def _ended(queue: QueueInfo) -> tuple[tuple[str, Ended], ...]:
    return ("minute", queue.minute), ("hour", queue.hour)


@queue.command()
@APP_OPTION
@json_option(fields(paused=list[str]))
@NAMES
@click.pass_context
def pause(context: click.Context, app: str | None, as_json: bool, names: tuple[str, ...]) -> None:
    """Let no task of these queues start, on any worker, until they are resumed; running ones go on."""
    found = load_migrated(context, app)
    _note_unknown(found, names)
    store.pause(found.database, names)
    say_json({"paused": names}) if as_json else say(plain(f"paused: {', '.join(names)}"))


@queue.command()
@APP_OPTION
@json_option(fields(resumed=list[str]))
@NAMES
@click.pass_context
def resume(context: click.Context, app: str | None, as_json: bool, names: tuple[str, ...]) -> None:
    """Let the tasks of these queues start again."""
    found = load_migrated(context, app)
    store.resume(found.database, names)
    say_json({"resumed": names}) if as_json else say(plain(f"resumed: {', '.join(names)}"))


@queue.command()
@APP_OPTION
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@json_option(Deleted)
@NAMES
@click.pass_context
def purge(context: click.Context, app: str | None, yes: bool, as_json: bool, names: tuple[str, ...]) -> None:
    """Delete all waiting tasks of these queues; running ones go on."""
    empty_queues(load_migrated(context, app), names, yes=yes, option="--yes", as_json=as_json)


@queue.command()
@APP_OPTION
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--cursor", help="Go on where an interrupted one has ended.")
@json_option(Changed)
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
@click.pass_context
def move(
    context: click.Context, app: str | None, yes: bool, cursor: str | None, as_json: bool, source: str, target: str
) -> None:
    """Put all tasks that wait on a queue on another one."""
    found = load_migrated(context, app)
    verb = Verb(f"Move to {target}", f"moved to {target}", "move", {"queue": target}, ("waiting", "scheduled", "held"))
    changed = change_all(found, {"queue": [source]}, verb, yes=yes, cursor=cursor)
    assert changed.report is not None
    say_json(changed) if as_json else say(plain(told(changed.report, verb)))


def _note_unknown(app: Lavoro, names: tuple[str, ...]) -> None:
    known = {row.queue for row in store.queue_status(app.database)} | {*app.queues}
    if unknown := [name for name in names if name not in known and not store.workers_of(app.database, name)[0]]:
        note(plain(f"lavoro: no task and no worker is on {', '.join(unknown)} now: is that the name?"))
