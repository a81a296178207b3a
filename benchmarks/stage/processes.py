"""Starts the processes that are measured and ends them again."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from benchmarks.stage.hits import Hits

ROOT = Path(__file__).resolve().parent.parent.parent
APP = "benchmarks.subjects.tasks"
PRODUCE = "benchmarks.subjects.produce"
LIMIT = 900.0
GRACE = 30.0


def environment(dsn: str, hits: Hits | None = None) -> dict[str, str]:
    """Return the environment in which the measured app finds its database and records its starts."""
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    found = {**os.environ, "PYTHONPATH": path, "BENCHMARKS_DSN": dsn, "LAVORO_DATABASE_URL": dsn}
    return {**found, **hits.environment} if hits else found


def migrate(dsn: str) -> None:
    """Make Lavoro's tables in an empty database."""
    run_module("lavoro", "migrate", "-A", APP, env=environment(dsn))


def worker(processes: int, *options: str, app: str = APP) -> list[str]:
    """Return the command that starts a Lavoro node; ``options`` replace so many processes of the gevent pool."""
    shape = options or ("--processes", str(processes), "-c", "100", "-P", "gevent")
    return [sys.executable, "-m", "lavoro", "worker", "-A", app, "-l", "warning", *shape]


def run(command: Sequence[str], *, env: dict[str, str], cwd: Path = ROOT) -> str:
    """Run a program to its end and return what it printed; an error shows what it wrote to stderr."""
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed with exit code {done.returncode}:\n{done.stderr}")
    return done.stdout


def run_module(module: str, *arguments: str, env: dict[str, str]) -> str:
    """Run a Python module to its end and return what it printed."""
    return run([sys.executable, "-m", module, *arguments], env=env)


def produce(*arguments: object, env: dict[str, str]) -> Any:
    """Run the producer in a process of its own and return what it measured."""
    return json.loads(run_module(PRODUCE, *map(str, arguments), env=env))


@contextmanager
def producing(*arguments: object, env: dict[str, str]) -> Iterator[None]:
    """Run the producer beside the block, and wait for its end."""
    command = [sys.executable, "-m", PRODUCE, *map(str, arguments)]
    process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.DEVNULL)
    try:
        yield
        if process.wait(LIMIT):
            raise RuntimeError(f"{' '.join(command[1:])} failed with exit code {process.returncode}")
    finally:
        process.kill()
        process.wait()


class Group:
    """Processes that work on the same tasks."""

    def __init__(
        self, commands: Sequence[Sequence[str]], env: dict[str, str], log: Path | None = None, cwd: Path = ROOT
    ) -> None:
        self.log = log
        with log.open("wb") if log else contextlib.nullcontext() as output:
            self.processes = [
                subprocess.Popen(each, cwd=cwd, env=env, start_new_session=True, stdout=output, stderr=output)
                for each in commands
            ]

    def wait_until(self, done: Callable[[], bool], what: str, *, limit: float = LIMIT, pause: float = 0.002) -> None:
        """Wait until ``done()``; raises when a process ends before, or after ``limit`` seconds."""
        end = time.monotonic() + limit
        while not done():
            for process in self.processes:
                if process.poll() is not None:
                    raise RuntimeError(f"{process.args!r} ended ({process.returncode}) before {what}{self._said()}")
            if time.monotonic() > end:
                raise TimeoutError(f"{what} did not happen within {limit:g} s{self._said()}")
            time.sleep(pause)

    def _said(self) -> str:
        return ":\n" + "\n".join(self.log.read_text(errors="replace").splitlines()[-5:]) if self.log else ""

    def members(self) -> list[psutil.Process]:
        """List the processes with all their descendants."""
        found = [psutil.Process(process.pid) for process in self.processes]
        return [member for parent in found for member in (parent, *parent.children(recursive=True))]

    def cpu_seconds(self) -> float:
        """Return the CPU time that the living members have used."""
        return float(sum(used.user + used.system for used in (member.cpu_times() for member in self.members())))

    def memory(self) -> float:
        """Return the bytes of memory that would be free without the members (shared pages not counted)."""
        return float(sum(member.memory_full_info().uss for member in self.members()))

    def stop(self, grace: float) -> None:
        """End politely, then by force, and leave no descendant behind."""
        descendants = self.descendants_left()  # asked before the parents end, who are the only way to find them
        for process in self.processes:
            process.send_signal(signal.SIGTERM)
        for process in self.processes:
            try:
                process.wait(grace)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for member in descendants:
            with contextlib.suppress(psutil.NoSuchProcess):
                member.kill()

    def descendants_left(self) -> list[psutil.Process]:
        """List the descendants of those processes that have not ended already."""
        found: list[psutil.Process] = []
        for process in self.processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                found += psutil.Process(process.pid).children(recursive=True)
        return found


@contextmanager
def running(
    commands: Sequence[Sequence[str]],
    env: dict[str, str],
    *,
    log: Path | None = None,
    cwd: Path = ROOT,
    grace: float = GRACE,
) -> Iterator[Group]:
    """Start processes and end them with the block, by force after ``grace``; their output goes to ``log`` if given."""
    group = Group(commands, env, log, cwd)
    try:
        yield group
    finally:
        group.stop(grace)
