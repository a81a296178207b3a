"""Writes the table of measurements and its pictures into a page: `python -m benchmarks.publish RESULT.json ...`."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from benchmarks.catalogue import BENCHMARKS
from benchmarks.output.plots import PLOTS, draw_all
from benchmarks.output.report import Row, as_summary, from_json
from benchmarks.output.targets import verdicts

BEGIN, END = "<!-- measurements: begin -->\n", "<!-- measurements: end -->\n"
WHOLE = "peers"
"""The benchmark of which every row is shown; of the others, the rows that have a goal."""


@click.command()
@click.argument("results", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--page", type=click.Path(exists=True, dir_okay=False, path_type=Path), default="docs/internals/performance.md"
)
@click.option("--images", type=click.Path(file_okay=False, path_type=Path), default="docs/images")
def main(*, results: tuple[Path, ...], page: Path, images: Path) -> None:
    """Write RESULTS into the marked part of a page; if several hold one benchmark, the last of them counts."""
    runs = [json.loads(path.read_text()) for path in results]
    found = {name: one for run in runs for name, one in run["benchmarks"].items() if one["figures"]}
    for path in draw_all(found, images):
        click.echo(path)
    text = as_section(runs[-1]["machine"], found, Path(os.path.relpath(images, page.parent)))
    page.write_text(replaced(page.read_text(), text))
    click.echo(page)


def replaced(page: str, section: str) -> str:
    """Return the page with another text between its two marks."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise click.ClickException(f"the page lacks the lines {BEGIN.strip()} and {END.strip()}")
    return before + begin + section + end + after


def as_section(machine: Mapping[str, str], found: Mapping[str, Any], images: Path) -> str:
    """Return the date and the machine, one table of all benchmarks, and the pictures."""
    head = (
        f"Measured on {machine['date']} at commit {machine['commit']}: {machine['CPU']}, {machine['memory']}, "
        f"{machine['system']}, {machine['file system of the data']}, {machine['Python']}, "
        f"PostgreSQL {machine['PostgreSQL server_version']} over {machine['connected over']} "
        f"(`fsync` {machine['PostgreSQL fsync']}, `synchronous_commit` "
        f"{machine['PostgreSQL synchronous_commit']}). Each value is the median of the rounds (minimum to maximum)."
    )
    shown = [row for name in BENCHMARKS if name in found for row in _shown(name, from_json(found[name]))]
    pictures = [
        f"![{plot.title}]({images}/benchmark-{key}.svg)" for key, plot in PLOTS.items() if plot.benchmark in found
    ]
    return "\n\n".join([head, as_summary(shown), *pictures]) + "\n"


def _shown(benchmark: str, table: list[Row]) -> list[Row]:
    return [row for row in table if benchmark == WHOLE or verdicts(row)]


if __name__ == "__main__":
    main()
