"""The command line of the benchmarks: `python -m benchmarks WHAT`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import click

from benchmarks import drain, enqueue, idle, latency
from benchmarks.machine import describe
from benchmarks.report import as_json, as_markdown, rows
from benchmarks.server import throwaway_server
from benchmarks.values import Sample, Setting, Step

BENCHMARKS: dict[str, list[Callable[[Setting], list[Step]]]] = {
    "enqueue": [enqueue.steps],
    "drain": [drain.steps],
    "latency": [latency.steps],
    "idle": [idle.steps],
    "floor": [enqueue.floor_steps, drain.floor_steps],
    "prototype": [drain.prototype_steps],
    "all": [enqueue.steps, drain.steps, latency.steps, idle.steps],
}


@click.command()
@click.argument("what", type=click.Choice(list(BENCHMARKS)))
@click.option("--json", "json_path", type=click.Path(dir_okay=False, path_type=Path), help="Write every value there.")
@click.option("--repeat", type=click.IntRange(1), default=3, show_default=True, help="Rounds; medians are reported.")
@click.option("--dsn", help="URL of a server to measure on (makes its own database), instead of a throw-away one.")
@click.option("--scale", type=float, default=1.0, show_default=True, help="Multiplies every count of tasks.")
@click.option("--processes", type=int, multiple=True, default=(1, 2), show_default=True, help="For drain; repeatable.")
@click.option("--pinned", is_flag=True, help="Hold a snapshot meanwhile, so that vacuum cleans nothing.")
def main(
    *, what: str, json_path: Path | None, repeat: int, dsn: str | None, scale: float, processes: tuple[int, ...],
    pinned: bool,
) -> None:  # fmt: skip
    """Measure WHAT and print a table."""
    with _server(dsn) as server:
        setting = Setting(server, scale, processes, pinned=pinned, throwaway=dsn is None)
        machine = describe(server)
        rounds = [_round(what, setting, number) for number in range(repeat)]
    table = rows(rounds)
    click.echo(as_markdown(machine, table))
    if json_path:
        options = {**asdict(setting), "what": what, "repeat": repeat}
        del options["server"]  # may hold a password
        json_path.write_text(json.dumps(as_json(machine, options, table), indent=1) + "\n")


@contextmanager
def _server(dsn: str | None) -> Iterator[str]:
    if dsn:
        yield dsn
        return
    with throwaway_server() as server:
        yield server


def _round(what: str, setting: Setting, number: int) -> list[Sample]:
    """Run each step once; every second round in reverse, so that a drift of the machine favours nobody."""
    samples = []
    steps = [step for steps_of in BENCHMARKS[what] for step in steps_of(setting)]
    for step in reversed(steps) if number % 2 else steps:
        for sample in step():
            value = f"{sample.value:,.4g} {sample.unit}"
            click.echo(f"round {number + 1}: {sample.figure}, {sample.subject}: {value}", err=True)
            samples.append(sample)
    return samples


if __name__ == "__main__":
    main()
