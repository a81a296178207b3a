"""How the verbs print: nothing that a terminal acts on leaves raw."""

from __future__ import annotations

import click

from lavoro.text import plain


def say(text: str, *, error: bool = False) -> None:
    """Print lines; names in them come from whoever may send tasks."""
    click.echo(plain(text, lines=True), err=error)
