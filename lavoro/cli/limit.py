"""``lavoro limit``: list, show, set, pause, resume and release the limits of keys."""

from __future__ import annotations

from typing import NamedTuple

import click

from lavoro.app import Lavoro
from lavoro.cli.common import load_migrated
from lavoro.cli.exits import Exit, Failure
from lavoro.cli.options import APP_OPTION
from lavoro.cli.output import say, say_json, show_table
from lavoro.cli.schemas import fields, json_option
from lavoro.exceptions import LimitNotFound
from lavoro.limits import Holder, LimitInfo
from lavoro.text.printable import plain

KEY = click.argument("key", metavar="KEY")
KEYS = click.argument("keys", metavar="KEY...", nargs=-1, required=True)


@click.group(short_help="List, set and pause limits.")
@APP_OPTION
@click.pass_context
def limit(context: click.Context, app: str | None) -> None:
    """List, show, set, pause, resume and release the limits of keys."""
    context.obj = app or context.obj


def _found(app: Lavoro, key: str) -> LimitInfo:
    try:
        return app.limits[key]
    except LimitNotFound as error:
        raise Failure(str(error), Exit.UNKNOWN) from None


@limit.command("list")
@APP_OPTION
@json_option(list[LimitInfo])
@click.pass_context
def listing(context: click.Context, app: str | None, as_json: bool) -> None:
    """List the limits that tasks have used lately, with what runs and what is held."""
    found = list(load_migrated(context, app).limits)
    if as_json:
        say_json(found)
        return
    rows = [[each.key, terms(each), each.taken, each.held, _seconds(each.oldest), _note(each)] for each in found]
    show_table(["limit", "terms", "running", "held", "oldest", "note"], rows, title="Limits")


def terms(limit: LimitInfo) -> str:
    """Return the terms of a limit in words."""
    said = []
    if limit.running is not None:
        said.append(f"{limit.running:,} at a time")
    if limit.rate is not None:
        said.append(f"{limit.rate:,} in {limit.per:g} s, {limit.burst:,} at once")
    return "; ".join(said) or "none"


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.0f} s"


def _note(limit: LimitInfo) -> str:
    notes = ["set by an operator"] * limit.fixed
    if limit.paused_until is not None:
        notes.append("paused" if limit.paused_until.year > 9000 else f"paused until {limit.paused_until:%H:%M:%S %Z}")
    return ", ".join(notes)


class Shown(NamedTuple):
    """A limit, with running tasks that it counts."""

    limit: LimitInfo
    holders: list[Holder]


@limit.command()
@APP_OPTION
@json_option(Shown)
@KEY
@click.pass_context
def show(context: click.Context, app: str | None, as_json: bool, key: str) -> None:
    """Show a limit and the running tasks that it counts, the longest first."""
    found = load_migrated(context, app)
    shown = Shown(_found(found, key), found.limits.holders(key))
    if as_json:
        say_json(shown)
        return
    here = shown.limit
    for title, value in (
        ("limit", here.key), ("terms", terms(here)), ("running", here.taken), ("held", here.held),
        ("oldest", _seconds(here.oldest) or "no task is held"), ("note", _note(here)),
    ):  # fmt: skip
        if value is not None and value != "":
            say(plain(f"{f'{title}:':<11}{value}"))
    if shown.holders:
        rows = [[each.id, each.name, each.node or "", f"{each.seconds:.0f} s"] for each in shown.holders]
        show_table(["task", "name", "node", "runs for"], rows, title="Running")


@limit.command("set")
@APP_OPTION
@click.option("--running", type=click.IntRange(0), help="Most tasks that run at the same time.")
@click.option("--rate", type=click.IntRange(0), help="Most starts in --per seconds.")
@click.option("--per", type=click.FloatRange(0, min_open=True), default=1.0, show_default=True, help="Seconds.")
@click.option("--burst", type=click.IntRange(1), help="Starts of the rate that may come at once.")
@click.option("--reset", is_flag=True, help="Let calls give it its terms again.")
@json_option(LimitInfo)
@KEY
@click.pass_context
def set_(
    context: click.Context, app: str | None, running: int | None, rate: int | None, per: float, burst: int | None,
    reset: bool, as_json: bool, key: str,
) -> None:  # fmt: skip
    """Give a limit other terms, which calls do not change; those that are left out are no limit."""
    if reset == (running is not None or rate is not None):
        raise click.UsageError("give --running, --rate or both; or --reset alone")
    found = load_migrated(context, app)
    if reset:
        _found(found, key)
        found.limits.reset(key)
    else:
        found.limits.set(key, running=running, rate=rate, per=per, burst=burst)
    here = found.limits[key]
    say_json(here) if as_json else say(plain(f"{key}: {'its terms come with the next call' if reset else terms(here)}"))


@limit.command()
@APP_OPTION
@click.option("--seconds", type=click.FloatRange(0, min_open=True), help="Resume by itself after so long.")
@json_option(fields(paused=list[str]))
@KEYS
@click.pass_context
def pause(context: click.Context, app: str | None, seconds: float | None, as_json: bool, keys: tuple[str, ...]) -> None:
    """Let no task of these limits start; running ones go on."""
    _each(load_migrated(context, app), "paused", keys, as_json, seconds)


@limit.command()
@APP_OPTION
@json_option(fields(resumed=list[str]))
@KEYS
@click.pass_context
def resume(context: click.Context, app: str | None, as_json: bool, keys: tuple[str, ...]) -> None:
    """Let the tasks of these limits start again."""
    _each(load_migrated(context, app), "resumed", keys, as_json, None)


def _each(app: Lavoro, done: str, keys: tuple[str, ...], as_json: bool, seconds: float | None) -> None:
    try:
        app.limits.pause(*keys, seconds=seconds) if done == "paused" else app.limits.resume(*keys)
    except LimitNotFound as error:
        raise Failure(str(error), Exit.UNKNOWN) from None
    say_json({done: keys}) if as_json else say(plain(f"{done}: {', '.join(keys)}"))


@limit.command()
@APP_OPTION
@json_option(LimitInfo)
@KEY
@click.pass_context
def release(context: click.Context, app: str | None, as_json: bool, key: str) -> None:
    """Count the running tasks of a limit anew, and free the tasks that it has room for."""
    found = load_migrated(context, app)
    _found(found, key)
    found.limits.release(key)
    here = found.limits[key]
    say_json(here) if as_json else say(plain(f"{key}: {here.taken or 0} run, {here.held} held"))
