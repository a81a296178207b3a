"""Options that the verbs share, and the verbs themselves, each imported at its first use."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

import click

from lavoro.runtime.importing import collecting_nothing
from lavoro.text import commands


class Output(click.Path):
    """The path of a file that will be written: its folder is there and may be written to, and it is no folder itself.

    Without this check the system says what is wrong, but not with which option.
    """

    def __init__(self) -> None:
        super().__init__(dir_okay=False, writable=True)

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> Any:
        """Return the path; raises BadParameter for one that cannot be written."""
        path = os.fsdecode(super().convert(value, parameter, context))
        folder = Path(path).parent
        if not folder.exists():
            self.fail(f"folder {str(folder)!r} does not exist: make it, or name another file.", parameter, context)
        if not folder.is_dir():
            self.fail(f"{str(folder)!r} is no folder: name another file.", parameter, context)
        if not Path(path).exists() and not os.access(folder, os.W_OK | os.X_OK):
            self.fail(f"this user may make no file in {str(folder)!r}: name another file.", parameter, context)
        return path


APP_OPTION = click.option(
    "-A",
    "--app",
    metavar="MODULE[:APP]",
    help="The application, for example shop.tasks or shop:app.",
    envvar="LAVORO_APP",
)

SECONDS = click.FloatRange(0, min_open=True)
_LEVELS = ["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL", "FATAL"]
LOGLEVEL_OPTION = click.option(
    "-l", "--loglevel", default="WARNING", type=click.Choice(_LEVELS, case_sensitive=False), show_default=True,
    help="How much is logged.",
)  # fmt: skip


def app_name(context: click.Context, app: str | None) -> str:
    """Return the name given before or after the verb; raises UsageError if there is none."""
    name = app or context.obj
    if name is not None and not isinstance(name, str):  # an application, of Lavoro.start or worker_main
        name = name.find_name()
    if not name:
        raise click.UsageError("name the application: -A module[:app] (or set LAVORO_APP)")
    commands.name_app(str(name))
    return str(name)


@contextmanager
def writing(option: str) -> Iterator[None]:
    """Name the option whose file cannot be written after all."""
    try:
        yield
    except OSError as error:
        what = f"{option}: {error.filename!r} cannot be written: {error.strerror}; name another file"
        raise click.ClickException(what) from None


def liveness_option(type: click.Path) -> Callable[[Any], Any]:
    """Make the option of the file that a worker writes, and `lavoro health` reads."""
    return click.option(
        "--liveness-file",
        type=type,
        envvar="LAVORO_LIVENESS_FILE",
        help="A file that a worker touches each second while it is well.",
    )


def refused(*names: str, why: str, flag: bool = False) -> Callable[[Any], Any]:
    """Refuse an option of Celery's, with the sentence that says why."""

    def refuse(context: click.Context, parameter: click.Parameter, value: Any) -> None:
        if value:
            raise click.UsageError(f"{'/'.join(parameter.opts)}: {why}", context)

    return click.option(
        *names, is_flag=flag, hidden=True, expose_value=False, callback=refuse, allow_from_autoenv=False
    )


def ignored(*names: str, flag: bool = False) -> Callable[[Any], Any]:
    """Accept an option of Celery's that changes nothing here."""
    return click.option(*names, is_flag=flag, hidden=True, expose_value=False)


def take_over_variables(verbs: Iterable[str] = ("worker",)) -> None:
    """Let variables such as ``CELERY_WORKER_CONCURRENCY`` stand for ``LAVORO_WORKER_CONCURRENCY``."""
    beginnings = tuple(f"CELERY_{verb.upper()}_" for verb in verbs)
    for name, value in list(os.environ.items()):
        if name.startswith(beginnings):
            os.environ.setdefault(name.replace("CELERY", "LAVORO", 1), value)


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
    """The verbs by their names, each imported when it is asked for, and prepared once."""

    def __init__(self, names: tuple[str, ...], prepare: Callable[[click.Command], None]) -> None:
        self._verbs: dict[str, click.Command | None] = dict.fromkeys(names)
        self._prepare = prepare

    def __getitem__(self, name: str) -> click.Command:
        verb = self._verbs[name]
        if verb is None:
            with collecting_nothing():
                verb = self._verbs[name] = getattr(import_module(f"lavoro.cli.{name}"), name)
            self._prepare(verb)
        return verb

    def __setitem__(self, name: str, verb: click.Command) -> None:
        self._verbs[name] = verb

    def __delitem__(self, name: str) -> None:
        del self._verbs[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._verbs)

    def __len__(self) -> int:
        return len(self._verbs)
