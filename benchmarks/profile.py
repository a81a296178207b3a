"""Writes a page of flame graphs, statements and plans to `build/profile`: `python -m benchmarks.profile`."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path

import click

from benchmarks.output.report import as_lines, as_list
from benchmarks.stage import statements
from benchmarks.stage.machine import describe
from benchmarks.stage.server import throwaway_server
from benchmarks.stage.spy import RATE, functions, tidy
from benchmarks.stage.statements import OTHERS, Used
from benchmarks.subjects import scenes
from benchmarks.subjects.scenes import Seen
from benchmarks.values import Setting, Skipped
from lavoro.worker.child.capacity import BATCH

WIDEST = 15
SMALLEST = 0.001
"""Share of the time from which on a statement is named."""
FOLDER = Path("build/profile")
SQL = "../../lavoro/store/sql"
"""From the folder."""

SCENES: dict[str, tuple[str, Callable[[Setting, Path], Seen]]] = {
    "drain": ("A worker's child runs no-op tasks that wait", scenes.drain),
    "one": ("A process calls `.delay()`, one by one", scenes.one_by_one),
    "many": (f"A process calls `delay_many`, in lists of {scenes.LIST:,}", scenes.in_lists),
}

HEAD = f"""# Profiles

Written by `python -m benchmarks.profile`; [the benchmarks' page](../../benchmarks/README.md) says how to run it.

- The pictures are flame graphs by py-spy: {RATE} times a second it looks which line of Python holds the interpreter's
  lock. A box is as wide as its share of the time in which Python computes, and below it is what it calls. Waiting is
  not in it, nor are system calls (sending, receiving, writing), which let go of the lock. The tables name the functions
  that take most: *alone* is the share without the functions in Python that they call, *whole* the share with them.
  The process goes on while it is looked at, so some stacks are found in pieces: what psycopg's generators call stands
  beside its callers then, at the upper edge.
- The statements are what pg_stat_statements counted meanwhile. Their time is planning and running on the server; the
  commit with its flush comes after that, and is not in it.
- The plans are what auto_explain tells, in the form of `EXPLAIN (ANALYZE, BUFFERS, WAL)`, of statements that ran
  {scenes.BEFORE} times before, so that the server keeps their plans. Timing each node makes them slower than they are.

Looking disturbs, and so does what else the machine does (its load is below): shares, rows and bytes hold, times do not.
The [performance page](../../docs/internals/performance.md) says how fast something is."""


@click.command()
@click.option("--dsn", help="URL of a server to use (makes its own databases), instead of a throw-away one.")
@click.option("--scale", type=float, default=1.0, show_default=True, help="Multiplies every count of tasks.")
@click.option("--page", type=click.Path(dir_okay=False, path_type=Path), default=FOLDER / "profile.md")
@click.option("--images", type=click.Path(file_okay=False, path_type=Path), default=FOLDER)
def main(*, dsn: str | None, scale: float, page: Path, images: Path) -> None:
    """Profile a worker and two callers, and write a page about where the time goes."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended too
    for folder in (images, page.parent):
        folder.mkdir(parents=True, exist_ok=True)
    with nullcontext(dsn) if dsn else throwaway_server(preload=statements.LIBRARY) as server:
        setting = Setting(server, scale=scale, throwaway=dsn is None)
        parts = [HEAD, as_list(describe(server))]
        for name, (title, scene) in SCENES.items():
            click.echo(title, err=True)
            picture = images / f"profile-{name}.svg"
            picture.unlink(missing_ok=True)
            seen = scene(setting, picture)
            parts += [f"## {title}", _account(seen), *_flames(picture, title, page), *_statements(seen.used)]
        parts += ["## Plans", *_plans(setting)]
    page.write_text("\n\n".join(parts) + "\n")
    click.echo(page)


def _account(seen: Seen) -> str:
    """List what a task took."""
    each = {
        "clock": seen.clock,
        "CPU of the process, its own code": seen.user,
        "CPU of the process, system calls": seen.system,
        "CPU of the server": seen.server,
    }
    if seen.used:
        each["statements"] = sum(used.seconds for used in seen.used)
    told = {name: f"{seconds / seen.tasks * 1e6:.1f} us a task" for name, seconds in each.items()}
    return as_list({"tasks": f"{seen.tasks:,}", **told})


def _flames(picture: Path, title: str, page: Path) -> Iterator[str]:
    """Show the picture, if one could be made, and what is widest in it."""
    if picture.exists():
        title = title.replace("`", "")
        svg = tidy(picture.read_text(), title)
        picture.write_text(svg)
        yield f"![{title}]({os.path.relpath(picture, page.parent)})"
        rows = [[f"`{one.name}`", f"{one.alone:.1%}", f"{one.whole:.1%}"] for one in functions(svg)[:WIDEST]]
        yield as_lines([["function", "alone", "whole"], ["---", "---:", "---:"], *rows])


def _statements(used: Sequence[Used]) -> Iterator[str]:
    """Show what the server was asked."""
    total = sum(one.seconds for one in used)
    if total:
        head = ["statement", "calls", "mean ms", "rows per call", "WAL bytes per call", "share of the time"]
        rows = [
            [
                one.name if one.name == OTHERS else f"[`{one.name}`]({SQL}/{one.name}.sql)",
                f"{one.calls:,}",
                f"{one.seconds / one.calls * 1e3:.3f}",
                f"{one.rows / one.calls:,.1f}",
                f"{one.wal / one.calls:,.0f}",
                f"{one.seconds / total:.1%}",
            ]
            for one in used
            if one.seconds >= SMALLEST * total
        ]
        yield as_lines([head, ["---", *["---:"] * (len(head) - 1)], *rows])


def _plans(setting: Setting) -> Iterator[str]:
    yield (
        f"A claim and a finish of {BATCH} tasks beside {setting.scaled(scenes.WAITING):,} that wait, one"
        f" `.delay()`, and {scenes.INSERT:,} calls of `delay_many`."
    )
    try:
        for name, plan in scenes.plans(setting).items():
            yield f"[`{name}`]({SQL}/{name}.sql):\n\n```text\n{plan}\n```"
    except Skipped as reason:
        click.echo(f"skipped: {reason}", err=True)


if __name__ == "__main__":
    main()
