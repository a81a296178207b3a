"""Prints for the verbs, with control characters as escapes."""

from __future__ import annotations

import click

from lavoro.text.printable import plain


def say(text: str, *, error: bool = False) -> None:
    """Print lines; names in them may come from any sender of tasks."""
    click.echo(plain(text, lines=True), err=error)
