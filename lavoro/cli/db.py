"""``lavoro db``: show sizes, partitions, sessions, locks and the oldest snapshot."""

from __future__ import annotations

import click

from lavoro.cli.common import load_app
from lavoro.cli.options import APP_OPTION
from lavoro.cli.output import say, say_json, show_table
from lavoro.cli.schemas import json_option
from lavoro.monitoring.database import DatabaseState, Session, look_at
from lavoro.store.errors import translated
from lavoro.text.plural import counted


@click.command(short_help="Show sizes, sessions and locks of the database.")
@APP_OPTION
@json_option(DatabaseState)
@click.pass_context
def db(context: click.Context, app: str | None, as_json: bool) -> None:
    """Show the size of each table, its dead rows, partitions, sessions, locks and the oldest snapshot."""
    found = load_app(context, app)
    tx = found.database.open("lavoro-db", direct=True)
    try:
        with translated():
            now = look_at(tx)
    finally:
        tx.connection.close()
    if as_json:
        say_json(now)
        return
    say(f"database: {found.database_shown}, PostgreSQL {now.server}, {size(now.size)}")
    say(f"connections: {now.connections:,} of {now.most_connections:,}")
    oldest = now.oldest_snapshot
    say("oldest snapshot: " + ("none" if oldest is None else f"{oldest:.0f} s, of session {now.oldest_session}"))
    _show_tables(now)
    rows = [
        (each.pid, each.user, each.application, each.state, f"{each.seconds:.0f} s", _waits(each), each.query)
        for each in now.sessions
    ]
    show_table(("session", "user", "application", "state", "for", "waits for", "statement"), rows, title="Sessions")
    if locked := [each for each in now.sessions if each.blocked_by]:
        say(f"{counted(len(locked), 'session waits', 'sessions wait')} for locks of others")


def _show_tables(now: DatabaseState) -> None:
    ends = {each.name: each.ends for each in now.partitions}
    rows = [
        (
            each.name, each.partition_of or "", f"{ends[each.name]:%Y-%m-%d %H:%M}" if ends.get(each.name) else "",
            f"{each.rows:,}", f"{each.dead:,}", size(each.size), size(each.indexes),
            f"{each.vacuumed:%Y-%m-%d %H:%M}" if each.vacuumed else "never",
        )
        for each in now.tables
    ]  # fmt: skip
    titles = ("table", "partition of", "until", "rows", "dead", "size", "indexes", "vacuumed")
    show_table(titles, rows, title="Tables", whole="table")


def _waits(session: Session) -> str:
    if session.blocked_by:
        return "lock of " + ", ".join(map(str, session.blocked_by))
    return session.waits_for or ""


def size(bytes: int) -> str:
    """Write a number of bytes as people read it."""
    value = float(bytes)
    for unit in ("B", "kB", "MB"):
        if value < 1024:
            return f"{value:.0f} {unit}"
        value /= 1024
    return f"{value:.1f} GB"
