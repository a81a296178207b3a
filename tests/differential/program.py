"""A program: its file, and the worker that it asks for."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any, NamedTuple

PROGRAMS = Path(__file__).parent / "programs"
POOLS = ("default", "solo", "threads", "prefork", "gevent")
"""`default` is the pool that each side takes by itself: prefork in Celery, gevent in Lavoro."""


class Program(NamedTuple):
    """What a file in `programs` declares in literals of its own: ``POOLS = ("solo",)``, ``WORKER = ["-c", "4"]``."""

    name: str
    pools: tuple[str, ...]
    """Empty: the program needs no worker, and runs once."""

    worker: tuple[str, ...]
    """Options of its worker."""

    environment: dict[str, str]
    """Variables for client and worker."""


def find_programs() -> dict[str, Program]:
    """Every program by its name."""
    return {file.stem: _read(file) for file in sorted(PROGRAMS.glob("*.py"))}


def _read(file: Path) -> Program:
    declared: dict[str, Any] = {}
    for line in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(line, ast.Assign) and isinstance(line.targets[0], ast.Name):
            name = line.targets[0].id
            if name in ("POOLS", "WORKER", "ENVIRONMENT"):
                declared[name] = ast.literal_eval(line.value)
    pools = tuple(declared.get("POOLS", POOLS))
    if unknown := set(pools) - set(POOLS):
        raise ValueError(f"{file.name}: POOLS has {sorted(unknown)}; there are {', '.join(POOLS)}")
    return Program(file.stem, pools, tuple(declared.get("WORKER", ("-c", "2"))), declared.get("ENVIRONMENT", {}))
