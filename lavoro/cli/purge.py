"""``lavoro purge``: delete waiting tasks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import click

from lavoro.app import Lavoro
from lavoro.cli.common import load_migrated
from lavoro.cli.options import APP_OPTION, comma_separated
from lavoro.cli.output import confirm, say, say_json
from lavoro.cli.schemas import json_option
from lavoro.store import queues as store
from lavoro.store.errors import translated
from lavoro.text.plural import counted
from lavoro.text.printable import plain


class Deleted(NamedTuple):
    """The number of tasks that were deleted, and the tasks elsewhere that fail with them, by name."""

    queues: list[str]
    deleted: int
    failing: dict[str, int]


@click.command(short_help="Delete waiting tasks.")
@APP_OPTION
@click.option("-Q", "--queues", callback=comma_separated, metavar="A,B", help="Only these; default: the app's queues.")
@click.option("-X", "--exclude-queues", callback=comma_separated, metavar="A,B", help="All but these.")
@click.option("-f", "--force", "--yes", is_flag=True, help="Do not ask.")
@json_option(Deleted)
@click.pass_context
def purge(
    context: click.Context, app: str | None, queues: tuple[str, ...], exclude_queues: tuple[str, ...], force: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """Delete all waiting tasks of the queues; running ones go on."""
    found = load_migrated(context, app)
    names = [name for name in queues or found.queues if name not in exclude_queues]
    if not names:
        raise click.UsageError("no queue is left: -X names all of them", context)
    empty_queues(found, names, yes=force, option="--force", as_json=as_json)


def empty_queues(app: Lavoro, names: Sequence[str], *, yes: bool, option: str, as_json: bool) -> None:
    """Delete the tasks that wait on these queues, after a question; say how many."""
    if not yes:
        with translated():
            every = store.queue_status(app.database)
        waiting = sum(row.ready + row.scheduled + row.held for row in every if row.queue in names)
        if waiting:
            failing = store.failing_with_them(store.held_behind(app.database, names))
            what = counted(waiting, "task that waits", "tasks that wait")
            confirm(f"Delete {what} on {', '.join(names)}{failing}?", yes=yes, option=option)
        elif not as_json:
            say(plain(f"nothing waits on {', '.join(names)}"))
            return
    purged = store.purge(app.database, names)
    if as_json:
        say_json(Deleted([*names], *purged))
        return
    deleted = f"deleted {counted(purged.deleted, 'task')} from {', '.join(names)}"
    say(plain(deleted + store.failing_with_them(purged.failing)))
