"""Options that the verbs share, and the verbs themselves, each imported at its first use."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from importlib import import_module
from typing import ClassVar

import click

APP_OPTION = click.option(
    "-A",
    "--app",
    metavar="MODULE[:APP]",
    help="The application, for example shop.tasks or shop:app.",
    envvar="LAVORO_APP",
)
LIVENESS_OPTION = click.option(
    "--liveness-file",
    type=click.Path(dir_okay=False),
    envvar="LAVORO_LIVENESS_FILE",
    help="A file that a worker touches each second while it is well.",
)


def comma_separated(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[str, ...]:
    """Split ``a,b``."""
    return tuple(part.strip() for part in (value or "").split(",") if part.strip())


class Grouped(click.Command):
    """A command whose help shows its options in groups: ``groups`` has the titles, and the names of the options."""

    groups: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    def format_options(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the groups, then all other options."""
        records = [(parameter.name, parameter.get_help_record(context)) for parameter in self.get_params(context)]
        left = {name: record for name, record in records if record is not None}
        for title, names in self.groups.items():
            with formatter.section(title):
                formatter.write_dl([left.pop(name) for name in names if name in left])
        if left:
            with formatter.section("Other options"):
                formatter.write_dl(list(left.values()))


class Verbs(MutableMapping[str, click.Command]):
    """The verbs by their names, each imported when it is asked for."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self._verbs: dict[str, click.Command | None] = dict.fromkeys(names)

    def __getitem__(self, name: str) -> click.Command:
        verb = self._verbs[name]
        if verb is None:
            verb = self._verbs[name] = getattr(import_module(f"lavoro.cli.{name}"), name)
        return verb

    def __setitem__(self, name: str, verb: click.Command) -> None:
        self._verbs[name] = verb

    def __delitem__(self, name: str) -> None:
        del self._verbs[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._verbs)

    def __len__(self) -> int:
        return len(self._verbs)
