"""The command line of the benchmarks: `python -m benchmarks WHAT ...`."""

from __future__ import annotations

import json
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from benchmarks.catalogue import ALL, BENCHMARKS
from benchmarks.output.report import as_json, as_list, as_table, rows
from benchmarks.peers.catalogue import PEERS
from benchmarks.stage.machine import describe
from benchmarks.stage.server import throwaway_server
from benchmarks.values import Sample, Series, Setting, Skipped, Step


@click.command()
@click.argument("what", nargs=-1, required=True, type=click.Choice([*BENCHMARKS, "all"]))
@click.option("--json", "json_path", type=click.Path(dir_okay=False, path_type=Path), help="Write every value there.")
@click.option("--repeat", type=click.IntRange(1), default=3, show_default=True, help="Rounds; medians are reported.")
@click.option("--dsn", help="URL of a server to measure on (makes its own databases), instead of a throw-away one.")
@click.option("--scale", type=float, default=1.0, show_default=True, help="Multiplies every count of tasks.")
@click.option("--processes", type=int, multiple=True, default=(1, 2), show_default=True, help="For drain; repeatable.")
@click.option("--peer", "peers", type=click.Choice(list(PEERS)), multiple=True, help="For peers; repeatable. [all]")
@click.option("--pinned", is_flag=True, help="Hold a snapshot meanwhile (enqueue, drain): vacuum cleans nothing.")
def main(*, what: tuple[str, ...], json_path: Path | None, repeat: int, dsn: str | None, **options: Any) -> None:
    """Measure WHAT and print tables."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended too
    names = [name for one in what for name in (ALL if one == "all" else [one])]
    run = Run(repeat)
    found: dict[str, Any] = {"benchmarks": {}}
    with _server(dsn, max(BENCHMARKS[name].connections for name in names)) as server:
        setting = Setting(server, throwaway=dsn is None, **options)
        found["machine"] = describe(server)
        click.echo(as_list(found["machine"]))
        for name in names:
            samples, series = run.measure(BENCHMARKS[name].steps(setting))
            found["benchmarks"][name] = as_json(rows(samples), series)
            click.echo(f"\n## {name}\n\n{as_table(rows(samples))}")
    found["options"] = {**options, "repeat": repeat}
    if json_path:
        json_path.write_text(json.dumps(found, indent=1) + "\n")
    sys.exit(1 if run.failures else 0)


@contextmanager
def _server(dsn: str | None, connections: int) -> Iterator[str]:
    if dsn:
        yield dsn
        return
    with throwaway_server(connections=connections) as server:
        yield server


class Run:
    """Runs steps in rounds; what cannot be measured is told, and the rest goes on."""

    def __init__(self, repeat: int) -> None:
        self.repeat = repeat
        self.failures = 0

    def measure(self, steps: Sequence[Step]) -> tuple[list[Sample], list[Series]]:
        """Run each step once a round, every second round in reverse: a drift of the machine favours nobody.

        The curves are those of the last round.
        """
        samples: list[Sample] = []
        series: dict[tuple[str, str], Series] = {}
        for number in range(self.repeat):
            for step in reversed(steps) if number % 2 else steps:
                for one in self._run(step):
                    if isinstance(one, Series):
                        series[one.subject, one.figure] = one
                    else:
                        _tell(number, one)
                        samples.append(one)
        return samples, list(series.values())

    def _run(self, step: Step) -> list[Sample | Series]:
        try:
            return step()
        except Skipped as reason:
            click.echo(f"skipped: {reason}", err=True)
        except Exception:  # the other figures must not be lost
            self.failures += 1
            click.echo(f"failed:\n{traceback.format_exc()}", err=True)
        return []


def _tell(number: int, sample: Sample) -> None:
    value = f"{sample.value:,.4g} {sample.unit}"
    click.echo(f"round {number + 1}: {sample.figure}, {sample.subject}: {value}", err=True)


if __name__ == "__main__":
    main()
