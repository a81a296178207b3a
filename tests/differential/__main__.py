"""``python -m tests.differential [PROGRAM ...]``: run programs on both sides and print the differences."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatchcase
from pathlib import Path

from tests.differential import trial
from tests.differential.compare import Difference, differences, judge
from tests.differential.meant import MEANT
from tests.differential.program import POOLS, Program, find_programs
from tests.differential.redis import RedisMissing
from tests.differential.sides import ROOT, Side, both_sides

NO_POOL = "none"
"""Stands for the pool of programs that need no worker."""


def main() -> int:
    """0: no difference but those that are meant."""
    options = _options()
    chosen = _chosen(options.programs)
    runs = [(program, pool) for program in chosen for pool in _pools(program, options)]
    began = time.monotonic()
    results = Results(options.show)
    try:
        with both_sides(options.celery) as sides, ThreadPoolExecutor(options.parallel) as executor:
            for _ in executor.map(lambda each: results.add(*each, sides), runs):
                pass
    except RedisMissing as error:
        print(error, file=sys.stderr)
        return 2
    verdict = judge(results.differences, MEANT, [(program.name, pool) for program, pool in runs])
    for entry in verdict.no_longer:
        print(f"NO LONGER DIFFERS, delete it from meant.py: {entry.program} {entry.key}: {entry.why}")
    told = f"{len(chosen)} programs, {len(runs)} runs on each side, {results.keys} keys compared"
    print(f"{told}, {len(verdict.explained)} differ as meant, {time.monotonic() - began:.0f} s")
    return 1 if verdict.unexplained or verdict.no_longer else 0


class Results:
    """Gathers what the runs have found, and prints it as they end."""

    def __init__(self, show: bool) -> None:
        self.differences: list[Difference] = []
        self.keys = 0
        self._show = show

    def add(self, program: Program, pool: str, sides: tuple[Side, Side]) -> None:
        """Run a program on both sides, and compare."""
        given = None if pool == NO_POOL else pool
        with ThreadPoolExecutor(2) as executor:
            trials = [*executor.map(lambda side: trial.run(program, side, given), sides)]
        celery, lavoro = (one.values for one in trials)
        found = differences(program.name, pool, celery, lavoro)
        self.differences += found
        self.keys += len({*celery, *lavoro})
        lines = [f"{program.name} ({pool}): {len({*celery, *lavoro})} keys, {len(found)} differ"]
        if self._show:
            for side, one in zip(sides, trials, strict=True):
                lines += [f"--- {side.name}", *(f"{key} = {value}" for key, value in one.values.items()), one.output]
        for difference in judge(found, MEANT, ()).unexplained:
            lines += [f"DIFFERS {program.name} ({pool}): {difference.key}"]
            lines += [f"  celery: {difference.celery}", f"  lavoro: {difference.lavoro}"]
        print("\n".join(lines), flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.differential", description=__doc__)
    parser.add_argument("programs", nargs="*", help="names or patterns of programs; default: all")
    parser.add_argument("--pools", default=",".join(POOLS), help="only these; default: those that a program asks for")
    parser.add_argument("--quick", action="store_true", help="each program in one pool: the first that it asks for")
    parser.add_argument("--celery", default=str(ROOT / ".venv-celery/bin/python"), help="the Python that has Celery")
    parser.add_argument("--parallel", type=int, default=2, help="programs at once")
    parser.add_argument("--show", action="store_true", help="print all values, and what the processes printed")
    options = parser.parse_args()
    if not Path(options.celery).exists():
        parser.error(f"there is no {options.celery}: `make differential` makes it")
    options.celery = str(Path(options.celery).absolute())
    return options


def _pools(program: Program, options: argparse.Namespace) -> list[str]:
    """The pools that it runs in; quickly that is the first that it names."""
    if not program.pools:
        return [NO_POOL]
    wanted = [pool for pool in program.pools if pool in options.pools.split(",")]
    return wanted[:1] if options.quick else wanted


def _chosen(patterns: Sequence[str]) -> list[Program]:
    programs = find_programs()
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in programs):
            sys.exit(f"there is no program {pattern!r} in tests/differential/programs")
    matching = (name for name in programs if not patterns or any(fnmatchcase(name, one) for one in patterns))
    return [programs[name] for name in matching]


if __name__ == "__main__":
    sys.exit(main())
