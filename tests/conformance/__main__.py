"""Run Celery's integration tests on Lavoro: ``python -m tests.conformance [--pool threads] [options of pytest]``.

All of them are spread over processes, each with a database and a Redis server: most of the time they only wait. Some,
which options name, run in one process.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

from lavoro.store.schema.migrate import migrate
from tests.celery_suite.source import REPOSITORY, fetch
from tests.conformance.listed import FOLDER, POOLS
from tests.conformance.outcomes import Outcomes, told
from tests.differential.redis import temporary_redis
from tests.postgres import public_folder, temporary_cluster

PARTS = 6
PATCH = "from gevent import monkey; monkey.patch_all(); "
"""Before any other import, as in a process of a worker."""


def main() -> int:
    """Run pytest beside a PostgreSQL server, and servers of Redis, where the tests keep notes; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", add_help=False)
    parser.add_argument("--pool", choices=POOLS, default="threads")
    given, options = parser.parse_known_args()
    source = fetch()
    named = [option for option in options if option.startswith(FOLDER)] or [FOLDER]
    arguments = [
        "-p", "tests.conformance.plugin", "-c", str(source / "pyproject.toml"), "--rootdir", str(source),
        "-p", "no:cacheprovider", "-p", "no:rerunfailures", "-p", "no:xdist", "-o", "xfail_strict=false", "-q",
        *(option for option in options if option not in named), *named,
    ]  # fmt: skip
    code = (PATCH if given.pool == "gevent" else "") + "import sys, pytest; sys.exit(pytest.main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, *arguments]
    parts = 1 if options else PARTS
    with ExitStack() as stack:
        cluster, programs = stack.enter_context(temporary_cluster()), stack.enter_context(public_folder())
        write_command(programs / "celery")
        running = []
        for part in range(parts):
            url = cluster.url(cluster.create_database())
            migrate(url)
            redis = stack.enter_context(temporary_redis())
            place = urlsplit(redis)
            environment = {
                **os.environ,
                "PATH": os.pathsep.join((str(programs), os.environ["PATH"])),
                "PYTHONPATH": os.pathsep.join(map(str, (REPOSITORY / "compat", REPOSITORY, source))),
                "PYTHONDONTWRITEBYTECODE": "1",
                "LAVORO_CONFORMANCE_POOL": given.pool,
                "LAVORO_CONFORMANCE_PART": f"{part}/{parts}",
                "LAVORO_CONFORMANCE_OUTCOMES": str(programs / f"outcomes-{part}"),
                "LAVORO_DATABASE_URL": url,
                "WORKER_LOGLEVEL": "INFO",  # as in Celery's tox.ini: tests read the log
                "TEST_BROKER": url,
                "TEST_BACKEND": redis,
                "REDIS_HOST": str(place.hostname),
                "REDIS_PORT": str(place.port),
            }
            running.append((command, source, environment))
        codes = run(running, programs)
        return tell(given.pool, [Outcomes.load(programs / f"outcomes-{part}") for part in range(parts)], codes)


def run(started: Sequence[tuple[Sequence[str], Path, Mapping[str, str]]], folder: Path) -> list[int]:
    """Run all commands at once, and show the output of each when it has ended; that of one alone as it comes."""
    if len(started) == 1:
        [(command, cwd, environment)] = started
        return [subprocess.run(command, cwd=cwd, env=environment).returncode]
    outputs = [folder / f"output-{number}" for number in range(len(started))]
    running = []
    for (command, cwd, environment), output in zip(started, outputs, strict=True):
        with output.open("wb") as file:
            running.append(subprocess.Popen(command, cwd=cwd, env=environment, stdout=file, stderr=file))
    try:
        for process, output in zip(running, outputs, strict=True):
            process.wait()
            sys.stdout.write(output.read_text(errors="backslashreplace"))
            sys.stdout.flush()
    finally:
        for process in running:
            process.kill()
            process.wait()
    return [process.returncode for process in running]


def tell(pool: str, parts: Sequence[Outcomes], codes: Sequence[int]) -> int:
    """Print what became of all tests, and return the exit code of the run."""
    sys.stdout.write(told(pool, parts))
    return max(codes)


def write_command(file: Path) -> None:
    """Write the command of the alias, which some tests start."""
    file.write_text(f"#!{sys.executable}\nimport sys\nfrom celery.__main__ import main\nsys.exit(main())\n")
    file.chmod(0o755)


if __name__ == "__main__":
    sys.exit(main())
