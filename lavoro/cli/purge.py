"""``lavoro purge``: delete waiting tasks."""

from __future__ import annotations

import click

from lavoro.cli.common import load_app
from lavoro.cli.options import APP_OPTION, comma_separated
from lavoro.cli.output import say
from lavoro.store import queues as store
from lavoro.store.errors import translated
from lavoro.store.schema import migrate as migrations
from lavoro.text.plural import counted
from lavoro.text.printable import plain


@click.command()
@APP_OPTION
@click.option("-Q", "--queues", callback=comma_separated, metavar="A,B", help="Only these; default: the app's queues.")
@click.option("-f", "--force", is_flag=True, help="Do not ask.")
@click.pass_context
def purge(context: click.Context, app: str | None, queues: tuple[str, ...], force: bool) -> None:
    """Delete all waiting tasks of the queues; running ones go on."""
    found = load_app(context, app)
    migrations.check(found.database)
    names = list(queues or found.queues)
    if not force:
        with translated():
            waiting = sum(
                row.ready + row.scheduled + row.held for row in store.queue_status(found.database) if row.queue in names
            )
        if not waiting:
            say(plain(f"nothing waits on {', '.join(names)}"))
            return
        failing = store.failing_with_them(store.held_behind(found.database, names))
        what = counted(waiting, "task that waits", "tasks that wait")
        click.confirm(plain(f"Delete {what} on {', '.join(names)}{failing}?"), abort=True)
    purged = store.purge(found.database, names)
    deleted = f"deleted {counted(purged.deleted, 'task')} from {', '.join(names)}"
    say(plain(deleted + store.failing_with_them(purged.failing)))
