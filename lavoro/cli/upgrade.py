"""``lavoro upgrade settings``: give the settings in a file today's names."""

from __future__ import annotations

import io
import tokenize
from pathlib import Path
from typing import NamedTuple

import click

from lavoro.cli.exits import Failure
from lavoro.cli.options import APP_OPTION
from lavoro.cli.output import note, say, say_json
from lavoro.cli.schemas import json_option
from lavoro.config.old_names import OLD_NAMES
from lavoro.text.plural import counted
from lavoro.text.printable import plain


class Upgraded(NamedTuple):
    """The names that were replaced, each with the new one, and the copy of the file before."""

    file: str
    renamed: dict[str, str]
    backup: str | None


@click.group(short_help="Upgrade files of Celery's.")
@APP_OPTION
def upgrade(app: str | None) -> None:
    """Upgrade files of Celery's to today's names."""


@upgrade.command(short_help="Give settings in a file today's names.")
@click.option("--django", "--compat", "prefixed", is_flag=True, help="Write CELERY_TASK_ALWAYS_EAGER and its like.")
@click.option("--no-backup", is_flag=True, help="Keep no copy with .orig at its end.")
@json_option(Upgraded)
@click.argument("file", type=click.Path(exists=True, dir_okay=False))
def settings(file: str, prefixed: bool, no_backup: bool, as_json: bool) -> None:
    """Replace the names that settings had in Celery 3 in a file of Python; all else in it stays as it is."""
    path = Path(file)
    try:
        before = path.read_bytes().decode()
        after, renamed = renamed_in(before, prefixed=prefixed)
    except (UnicodeDecodeError, tokenize.TokenError, SyntaxError) as error:
        raise Failure(plain(f"{file!r} cannot be read as Python: {error}; nothing was changed")) from None
    backup = None
    if renamed:
        if not no_backup:
            backup = f"{file}.orig"
            Path(backup).write_bytes(before.encode())
        path.write_bytes(after.encode())
    if as_json:
        say_json(Upgraded(file, renamed, backup))
        return
    for old, new in renamed.items():
        say(f"{old} -> {new}")
    say(f"{counted(len(renamed), 'name')} replaced in {file}" if renamed else f"nothing to replace in {file}")
    if backup:
        note(f"the file as it was is {backup}")


def renamed_in(source: str, *, prefixed: bool) -> tuple[str, dict[str, str]]:
    """Return a text of Python with today's names of settings, and the names that were replaced.

    >>> renamed_in("CELERY_ALWAYS_EAGER = True  # fast", prefixed=False)
    ('task_always_eager = True  # fast', {'CELERY_ALWAYS_EAGER': 'task_always_eager'})
    """
    renamed: dict[str, str] = {}
    lines = io.StringIO(source, newline="").readlines()
    tokens = [*tokenize.generate_tokens(io.StringIO(source, newline="").readline)]
    for token in reversed(tokens):
        quote = token.string[:1] if token.type == tokenize.STRING else ""
        name = token.string.strip("'\"") if quote in ("'", '"') else token.string
        if token.type not in (tokenize.NAME, tokenize.STRING) or name not in OLD_NAMES:
            continue
        new = f"CELERY_{OLD_NAMES[name].upper()}" if prefixed else OLD_NAMES[name]
        if new == name:
            continue
        (row, begin), (_, end) = token.start, token.end
        line = lines[row - 1]
        lines[row - 1] = f"{line[:begin]}{token.string.replace(name, new)}{line[end:]}"
        renamed[name] = new
    return "".join(lines), dict(reversed(renamed.items()))
