"""``lavoro top``: a live screen of queues, workers, the slowest running tasks and failing tasks."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator

import click

from lavoro.app import Lavoro
from lavoro.cli.common import load_migrated
from lavoro.cli.options import APP_OPTION
from lavoro.cli.output import is_terminal, say, say_json
from lavoro.cli.schemas import json_option
from lavoro.cli.top.tables import print_frame
from lavoro.monitoring.top import Frame, Sampler
from lavoro.store.errors import translated


@click.command(short_help="Watch queues, workers, slow and failing tasks.")
@APP_OPTION
@click.option("--once", is_flag=True, help="Print one frame, and end.")
@click.option(
    "-n", "--interval", type=click.FloatRange(0.2, 3600), default=2.0, show_default=True, metavar="SECONDS",
    help="The time from frame to frame, over which rates are counted.",
)  # fmt: skip
@json_option(Frame)
@click.pass_context
def top(context: click.Context, app: str | None, once: bool, interval: float, as_json: bool) -> None:
    """Watch queues, workers, the slowest running tasks and failing tasks, and act on them with keys; ? shows the keys.

    Without a terminal it prints a frame each interval. --once and --json print one, after one interval.
    """
    found = load_migrated(context, app)
    if not (once or as_json) and is_terminal() and sys.stdin.isatty():
        from lavoro.cli.top.live import watch  # noqa: PLC0415  # rich takes 50 ms, and only a terminal needs it

        context.exit(watch(found, interval))
    frames = _frames(found, interval)
    if as_json:
        say_json(next(frames))
        return
    for number, frame in enumerate(frames):
        if number:
            say("")
        print_frame(frame, found.timezone)
        sys.stdout.flush()
        if once:
            return


def _frames(app: Lavoro, interval: float) -> Iterator[Frame]:
    """Yield a frame each interval; the first one, which knows no rates, is left out."""
    sampler = Sampler(app.database_shown)
    tx = app.database.open("lavoro-top")
    try:
        with translated():
            sampler.sample(tx)
            while True:
                time.sleep(interval)
                yield sampler.sample(tx)
    finally:
        tx.connection.close()
