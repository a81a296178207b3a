"""Commands of the package as this process would be told them, for errors that name one."""

from __future__ import annotations

import shlex

_before: tuple[str, ...] = ("lavoro",)
_after: tuple[str, ...] = ("-A", "yourapp")


def name_app(app: str) -> None:
    """Have commands name this application: ``lavoro migrate -A shop.tasks``."""
    global _before, _after
    _before, _after = ("lavoro",), ("-A", app)


def name_flask_app(path: str) -> None:
    """Have commands be those of Flask's command line: ``flask --app shop lavoro migrate``."""
    global _before, _after
    _before, _after = ("flask", "--app", path, "lavoro"), ()


def command(verb: str, *options: str) -> str:
    """Write a command as a shell takes it."""
    return shlex.join((*_before, verb, *_after, *options))
