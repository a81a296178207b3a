"""``lavoro report``: print what a report of a fault should hold."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NamedTuple

import click

import lavoro
from lavoro.app import Lavoro
from lavoro.cli.common import load_app
from lavoro.cli.options import APP_OPTION
from lavoro.cli.output import say, say_json
from lavoro.cli.schemas import json_option
from lavoro.exceptions import LavoroError
from lavoro.store.schema.migrate import migrations, version_of
from lavoro.text.printable import described

LIBRARIES = ("SQLAlchemy", "psycopg", "gevent", "croniter", "blinker", "click", "rich", "Flask", "kombu")
"""The libraries whose releases matter."""


class Report(NamedTuple):
    """Releases, the database, and the settings without secrets."""

    lavoro: str
    python: str
    system: str
    libraries: dict[str, str | None]
    database: str
    server: str | None
    schema_version: int | None
    needed_version: int
    problem: str | None
    """Why the database could not be asked."""
    settings: dict[str, Any]


@click.command(short_help="Print what a report of a fault should hold.")
@APP_OPTION
@json_option(Report)
@click.pass_context
def report(context: click.Context, app: str | None, as_json: bool) -> None:
    """Print releases, the database and the settings, without secrets, for a report of a fault."""
    found = load_app(context, app)
    now = _report(found)
    if as_json:
        say_json(now)
        return
    say(f"lavoro {now.lavoro}, Python {now.python}, {now.system}")
    say(", ".join(f"{name} {release}" for name, release in now.libraries.items() if release))
    server = f"PostgreSQL {now.server}, schema version {now.schema_version} of {now.needed_version}"
    say(f"database: {now.database}, {now.problem or server}")
    say("")
    say(found.conf.humanize())


def _report(app: Lavoro) -> Report:
    server, found, problem = None, None, None
    try:
        with app.database.tx() as tx:
            server = tx.connection.info.parameter_status("server_version")
            found = version_of(tx)
    except LavoroError as error:
        problem = str(error)
    return Report(
        lavoro=lavoro.__version__,
        python=sys.version.split()[0],
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        libraries={name: _release(name) for name in LIBRARIES},
        database=app.database_shown,
        server=server,
        schema_version=found,
        needed_version=migrations()[-1][0],
        problem=problem,
        settings={str(name): _plain(value) for name, value in app.conf.table().items()},
    )


def _release(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, (str, int, float)) else described(value)
