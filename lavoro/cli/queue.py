"""``lavoro queue``: list, pause, resume, purge and empty queues into others."""

from __future__ import annotations

import click

from lavoro.app import Lavoro
from lavoro.cli.common import load_app
from lavoro.cli.completion import names_of
from lavoro.cli.options import APP_OPTION
from lavoro.cli.output import note, say, say_json
from lavoro.cli.purge import Deleted, empty_queues
from lavoro.cli.schemas import fields, json_option
from lavoro.cli.status import show_queues
from lavoro.cli.task.changing import Changed, Verb, change_all, told
from lavoro.store import queues as store
from lavoro.store.queues import QueueStatus
from lavoro.store.schema import migrate as migrations
from lavoro.text.printable import plain

NAMES = click.argument("names", metavar="QUEUE...", shell_complete=names_of("queue"), nargs=-1, required=True)


@click.group(short_help="List, pause, resume and purge queues.")
@APP_OPTION
@click.pass_context
def queue(context: click.Context, app: str | None) -> None:
    """List, pause, resume and purge queues."""
    context.obj = app or context.obj


def _load(context: click.Context, app: str | None) -> Lavoro:
    found = load_app(context, app)
    migrations.check(found.database)
    return found


@queue.command("list")
@APP_OPTION
@json_option(list[QueueStatus])
@click.pass_context
def listing(context: click.Context, app: str | None, as_json: bool) -> None:
    """List the queues that have tasks, are paused, or are the application's."""
    found = _load(context, app)
    rows = store.queue_status(found.database)
    known = {row.queue for row in rows}
    served = {name: bool(store.workers_of(found.database, name)[0]) for name in found.queues if name not in known}
    rows += [QueueStatus(name, 0, 0, 0, None, False, served[name]) for name in served]
    say_json(sorted(rows)) if as_json else show_queues(sorted(rows))


@queue.command()
@APP_OPTION
@json_option(fields(paused=list[str]))
@NAMES
@click.pass_context
def pause(context: click.Context, app: str | None, as_json: bool, names: tuple[str, ...]) -> None:
    """Let no task of these queues start, on any worker, until they are resumed; running ones go on."""
    found = _load(context, app)
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
    found = _load(context, app)
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
    empty_queues(_load(context, app), names, yes=yes, option="--yes", as_json=as_json)


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
    found = _load(context, app)
    verb = Verb(f"Move to {target}", f"moved to {target}", "move", {"queue": target}, ("waiting", "scheduled", "held"))
    changed = change_all(found, {"queue": [source]}, verb, yes=yes, cursor=cursor)
    assert changed.report is not None
    say_json(changed) if as_json else say(plain(told(changed.report, verb)))


def _note_unknown(app: Lavoro, names: tuple[str, ...]) -> None:
    known = {row.queue for row in store.queue_status(app.database)} | {*app.queues}
    if unknown := [name for name in names if name not in known and not store.workers_of(app.database, name)[0]]:
        note(plain(f"lavoro: no task and no worker is on {', '.join(unknown)} now: is that the name?"))
