"""Writes Lavoro's commands for error messages, with the application of this process."""

from __future__ import annotations

import shlex

_before: tuple[str, ...] = ("lavoro",)
_after: tuple[str, ...] = ("-A", "yourapp")
_AWAY, _SILENT = "cannot connect", "the database did not answer"


def name_app(app: str) -> None:
    """Let commands name this application: ``lavoro migrate -A shop.tasks``."""
    global _before, _after
    _before, _after = ("lavoro",), ("-A", app)


def name_flask_app(path: str) -> None:
    """Let commands be those of Flask's command line: ``flask --app shop lavoro migrate``."""
    global _before, _after
    _before, _after = ("flask", "--app", path, "lavoro"), ()


def command(verb: str, *options: str) -> str:
    """Write a command as a shell takes it."""
    return shlex.join((*_before, verb, *_after, *options))


def advised(error: Exception) -> str:
    """Write an error for the command line; an error of the connection also tells what to look at."""
    text = str(error)
    if text.startswith(_SILENT):
        return f"{text}; is the server busy, or does a session hold a lock? {command('doctor')} tells which"
    if not text.startswith(_AWAY):
        return text
    places = "broker_url or LAVORO_DATABASE_URL" if _after else "LAVORO_DATABASE_URL or SQLALCHEMY_DATABASE_URI"
    return f"{text}; does PostgreSQL run there, and is the URL right ({places})?"
