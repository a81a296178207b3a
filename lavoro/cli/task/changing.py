"""The verbs that change tasks: by their ids, or all that match, after a question."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import click

from lavoro.app import Lavoro
from lavoro.cli.common import load_app
from lavoro.cli.exits import Exit, Failure
from lavoro.cli.options import APP_OPTION
from lavoro.cli.output import confirm, progress, say, say_json
from lavoro.cli.schemas import json_option
from lavoro.cli.task.filters import conditions, filters
from lavoro.exceptions import ActionInterrupted, InspectorError, TaskNotFound, WrongState
from lavoro.inspector import Done, Report
from lavoro.store.schema import migrate as migrations
from lavoro.text.plural import counted
from lavoro.text.printable import plain

UNSUCCESSFUL = ("FAILURE", "REVOKED", "REJECTED", "IGNORED")
"""The states of finished tasks that `retry` starts again unless it is told others."""


@dataclass(frozen=True)
class Refused:
    """A task with which it could not be done."""

    id: str
    why: str
    code: int
    """The exit code that stands for the reason."""


@dataclass(frozen=True)
class Changed:
    """The effect of a verb: on the tasks that were named, or on all that match."""

    tasks: tuple[Done, ...] = ()
    refused: tuple[Refused, ...] = ()
    report: Report | None = None


@dataclass(frozen=True)
class Verb:
    """A change: its words, its method of the inspector with arguments, and the tasks that it is for."""

    question: str
    past: str
    method: str
    arguments: dict[str, Any]
    stages: tuple[str, ...]
    states: tuple[str, ...] = ()


def _verb(name: str, help: str) -> Callable[[Callable[..., Any]], click.Command]:
    """Make a verb with all that these have in common."""

    def make(function: Callable[..., Any]) -> click.Command:
        for option in (
            click.pass_context,
            click.argument("ids", metavar="[ID]...", nargs=-1),
            json_option(Changed),
            click.option("--cursor", help="Go on where an interrupted one has ended."),
            click.option("-y", "--yes", is_flag=True, help="Do not ask."),
            click.option("--all", "everything", is_flag=True, help="All of them, where no condition is given."),
            filters,
            APP_OPTION,
        ):
            function = option(function)
        return click.command(name, short_help=help)(function)

    return make


@_verb("retry", "Start finished tasks again.")
def retry(context: click.Context, /, **given: Any) -> None:
    """Let finished tasks start again, under their ids: by default all but those that succeeded."""
    wanted = given["state"] or UNSUCCESSFUL
    arguments = {"state": given["state"]} if given["state"] else {}
    _change(context, given, Verb("Start again", "started again", "replay", arguments, ("finished",), wanted))


@_verb("revoke", "End tasks that have not ended.")
@click.option("--terminate", is_flag=True, help="Also those that run.")
@click.option("--signal", default="SIGTERM", show_default=True, help="The signal that ends a process.")
def revoke(context: click.Context, /, terminate: bool, signal: str, **given: Any) -> None:
    """Keep tasks from starting; with --terminate end those that run, too."""
    arguments = {"terminate": terminate, "signal": signal}
    stages = ("waiting", "scheduled", "held", "running")
    _change(context, given, Verb("Revoke", "revoked", "revoke", arguments, stages))


@_verb("delete", "Delete tasks and their outcomes.")
@click.option("--cascade", is_flag=True, help="Also tasks that others wait for: those fail.")
def delete(context: click.Context, /, cascade: bool, **given: Any) -> None:
    """Delete tasks, and the outcomes of finished ones, for good; running tasks have to be revoked first."""
    stages = ("waiting", "scheduled", "held", "finished")
    _change(context, given, Verb("Delete", "deleted", "delete", {"cascade": cascade}, stages))


@_verb("move", "Put tasks on another queue.")
@click.option("--to", "target", metavar="QUEUE", required=True, help="The queue.")
def move(context: click.Context, /, target: str, **given: Any) -> None:
    """Put tasks that wait or are held on another queue."""
    verb = Verb(f"Move to {target}", f"moved to {target}", "move", {"queue": target}, ("waiting", "scheduled", "held"))
    _change(context, given, verb)


@_verb("run", "Let tasks for later start now.")
def run(context: click.Context, /, **given: Any) -> None:
    """Let tasks that wait for a time start now."""
    _change(context, given, Verb("Run now", "due now", "run_now", {}, ("scheduled",)))


def _change(context: click.Context, given: dict[str, Any], verb: Verb) -> None:
    app = load_app(context, given.pop("app"))
    ids, as_json = given.pop("ids"), given.pop("as_json")
    everything, yes, cursor = given.pop("everything"), given.pop("yes"), given.pop("cursor")
    wanted = conditions(app, given)
    migrations.check(app.database)
    if ids and verb.method == "replay":
        wanted.pop("state", None)
    if bool(ids) == bool(wanted or everything):
        raise click.UsageError("give ids of tasks, or conditions such as --queue, or --all", context)
    changed = _each(app, ids, verb) if ids else change_all(app, wanted, verb, yes=yes, cursor=cursor)
    if as_json:
        say_json(changed)
    for done in () if as_json else changed.tasks:
        say(plain(f"{done.id}: {done.text}"))
    for refused in changed.refused:
        say(plain(f"lavoro: {refused.why}"), error=True)
    if changed.report is not None and not as_json:
        say(told(changed.report, verb))
    context.exit(max((refused.code for refused in changed.refused), default=Exit.DONE))


def _each(app: Lavoro, ids: tuple[str, ...], verb: Verb) -> Changed:
    done, refused = [], []
    for id in ids:
        try:
            done.append(getattr(app.inspector, verb.method)(id, **verb.arguments))
        except (TaskNotFound, WrongState) as error:
            code = Exit.UNKNOWN if isinstance(error, TaskNotFound) else Exit.STATE
            refused.append(Refused(id, str(error), int(code)))
    return Changed((*done,), (*refused,))


def change_all(app: Lavoro, wanted: dict[str, Any], verb: Verb, *, yes: bool, cursor: str | None) -> Changed:
    """Do it with all tasks that match, after a question; an interrupted one says how far it came, and how to go on."""
    given = wanted.get("stage") or verb.stages
    stages = [stage for stage in given if stage in verb.stages]
    if not stages:
        raise InspectorError(f"tasks of the stage {', '.join(given)} cannot be {verb.past}")
    chosen = {**wanted, "stage": stages} | ({"state": list(verb.states)} if verb.states else {})
    selection = app.inspector.where(**chosen)
    count = selection.count()
    if not count.value and count.exact:
        return Changed(report=Report(verb.method, complete=True))
    tasks = f"{count} task{'s' * (count.value != 1)}"
    confirm(f"{verb.question}: {tasks}?", yes=yes)
    seen = 0
    with progress(count.value, verb.question) as bar:

        def tell(report: Report) -> None:
            nonlocal seen
            if bar is not None:
                bar.update(_met(report) - seen)
            seen = _met(report)

        try:
            return Changed(report=getattr(selection, verb.method)(**verb.arguments, progress=tell, cursor=cursor))
        except KeyboardInterrupt:
            raise Failure(f"interrupted: {_so_far(selection.report, verb)}", Exit.INTERRUPTED) from None
        except ActionInterrupted as error:
            raise Failure(f"{error.__cause__}: {_so_far(error.report, verb)}") from None


def _so_far(report: Report | None, verb: Verb) -> str:
    if report is None or report.cursor is None:
        return "nothing was done"
    return f"{told(report, verb)}; go on with the same command and --cursor {report.cursor}"


def told(report: Report, verb: Verb) -> str:
    """Tell what was done with all that match."""
    parts = [f"{counted(report.done, 'task')} {verb.past}"]
    parts += [f"{report.asked:,} asked to end"] * bool(report.asked)
    parts += [f"{report.awaited:,} left, because others wait for them (--cascade)"] * bool(report.awaited)
    parts += [f"{report.skipped:,} left, because they have changed meanwhile"] * bool(report.skipped)
    return ", ".join(parts)


def _met(report: Report) -> int:
    return report.done + report.asked + report.awaited + report.skipped
