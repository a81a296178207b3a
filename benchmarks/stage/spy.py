"""Records with py-spy what the Python of a process does, as a flame graph that a page can show."""

from __future__ import annotations

import html
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click

from benchmarks.stage.processes import ROOT

RATE = 500
ROW = 16
"""From the top of a box to the top of those that it calls."""

_LIVELY = re.compile(
    r'<script.*?</script>|<!--.*?-->| onload="[^"]*"|<text id="(?:details|unzoom|search|matched)".*?</text>', re.DOTALL
)
"""What needs the picture's program, which no page runs: the boxes have their names and shares without it."""
_TITLE = re.compile(r'(?<=<text id="title")([^>]*>)[^<]*')
_BOX = re.compile(
    r"<g><title>([^<]+) \([\d,]+ samples, [\d.]+%\)</title>"
    r'<rect [^>]*?y="(\d+)"[^>]*? fg:x="(\d+)" fg:w="(\d+)"/>'
)
_LINE = re.compile(r":\d+\)$")
_PLACES = sorted({str(ROOT), *sysconfig.get_paths().values(), str(Path.home())}, key=len, reverse=True)


@dataclass(frozen=True)
class Function:
    """A function in a flame graph, and its shares of the time: without the functions that it calls, and with them."""

    name: str
    alone: float
    whole: float


@contextmanager
def spying(pid: int, path: Path) -> Iterator[None]:
    """Record meanwhile and write a flame graph at the end; without py-spy, or the right to use it, say so and go on.

    Only the thread that holds the GIL is recorded, so the boxes are where Python computes. It goes on meanwhile: a
    process that is stopped for each look stops at its next system call, and `os.getpid` seemed to take a fifth of a
    call. The price is that some stacks are found in pieces.
    """
    places = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    program = shutil.which("py-spy", path=places)
    if program is None:
        click.echo("skipped: flame graphs, for there is no py-spy: pip install -e '.[bench]'", err=True)
        yield
        return
    options = ["--gil", "--nonblocking", "--rate", str(RATE), "--format", "flamegraph", "--output", str(path)]
    command = [program, "record", "--pid", str(pid), *options]
    spy = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert spy.stdout is not None
    try:
        told = spy.stdout.readline()  # when it has begun
        yield
    finally:
        spy.send_signal(signal.SIGINT)
        told += spy.communicate()[0]
        if spy.returncode or not path.exists():
            click.echo(f"skipped: a flame graph, for py-spy failed: {told.strip()}", err=True)


def tidy(svg: str, title: str) -> str:
    """Return the flame graph with a title of its own, no program in it, and no path of this machine."""
    svg = _TITLE.sub(rf"\g<1>{html.escape(title)}", _LIVELY.sub("", svg))
    for place in _PLACES:
        svg = svg.replace(f"{html.escape(place)}/", "")
    return svg


def functions(svg: str) -> list[Function]:
    """List the functions in a flame graph, those first that take most of the time themselves."""
    boxes = [
        (_LINE.sub(")", html.unescape(name)), int(y), int(x), int(width)) for name, y, x, width in _BOX.findall(svg)
    ]
    total = max((width for *_, width in boxes), default=0)
    alone, whole = defaultdict[str, int](int), defaultdict[str, int](int)
    for name, y, x, width in boxes:
        called = sum(other[3] for other in boxes if other[1] == y + ROW and x <= other[2] < x + width)
        alone[name] += width - called
        whole[name] += width
    found = [Function(name, alone[name] / total, whole[name] / total) for name in whole]
    return sorted(found, key=lambda function: function.alone, reverse=True)
