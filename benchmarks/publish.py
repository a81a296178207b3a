"""Turns the JSON of runs into one page and its pictures: `python -m benchmarks.publish RESULT.json ...`."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from benchmarks.catalogue import BENCHMARKS
from benchmarks.output.plots import PLOTS, draw_all
from benchmarks.output.report import as_list, as_table, from_json

HEAD = """# Measurements

Written by `python -m benchmarks.publish` from the runs' JSON; what the figures mean says
[the benchmarks' page](../../benchmarks/README.md). Each cell is the median of the rounds (minimum to maximum).
"""


@click.command()
@click.argument("results", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--page", type=click.Path(dir_okay=False, path_type=Path), default="docs/internals/measurements.md")
@click.option("--images", type=click.Path(file_okay=False, path_type=Path), default="docs/images")
def main(*, results: tuple[Path, ...], page: Path, images: Path) -> None:
    """Gather RESULTS, of which the last counts where several measured the same, into a page with pictures."""
    runs = [json.loads(path.read_text()) for path in results]
    found = {name: one for run in runs for name, one in run["benchmarks"].items() if one["figures"]}
    for path in draw_all(found, images):
        click.echo(path)
    page.write_text(as_page(runs[-1]["machine"], found, Path(os.path.relpath(images, page.parent))))
    click.echo(page)


def as_page(machine: Mapping[str, str], found: Mapping[str, Any], images: Path) -> str:
    """Write the page."""
    parts = [HEAD, as_list(dict(machine))]
    for name in BENCHMARKS:
        if name in found:
            plots = [(key, plot.title) for key, plot in PLOTS.items() if plot.benchmark == name]
            pictures = [f"![{title}]({images}/benchmark-{key}.svg)" for key, title in plots]
            parts += [f"## {name}", *pictures, as_table(from_json(found[name]))]
    return "\n\n".join(part.strip() for part in parts) + "\n"


if __name__ == "__main__":
    main()
