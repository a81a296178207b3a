"""Run Celery's integration tests on Lavoro: ``python -m tests.conformance [--pool threads] [options of pytest]``."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

from lavoro.store.schema.migrate import migrate
from tests.celery_suite.source import REPOSITORY, fetch
from tests.conformance.listed import FOLDER, POOLS
from tests.differential.redis import temporary_redis
from tests.postgres import public_folder, temporary_cluster

PATCH = "from gevent import monkey; monkey.patch_all(); "
"""Before any other import, as in a process of a worker."""


def main() -> int:
    """Run pytest beside a PostgreSQL server, and one of Redis, where the tests keep notes; return the exit code."""
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
    with temporary_cluster() as cluster, temporary_redis() as redis, public_folder() as programs:
        migrate(cluster.url())
        write_command(programs / "celery")
        place = urlsplit(redis)
        environment = {
            **os.environ,
            "PATH": os.pathsep.join((str(programs), os.environ["PATH"])),
            "PYTHONPATH": os.pathsep.join(map(str, (REPOSITORY / "compat", REPOSITORY, source))),
            "PYTHONDONTWRITEBYTECODE": "1",
            "LAVORO_CONFORMANCE_POOL": given.pool,
            "LAVORO_DATABASE_URL": cluster.url(),
            "WORKER_LOGLEVEL": "INFO",  # as in Celery's tox.ini: tests read the log
            "TEST_BROKER": cluster.url(),
            "TEST_BACKEND": redis,
            "REDIS_HOST": str(place.hostname),
            "REDIS_PORT": str(place.port),
        }
        return subprocess.run([sys.executable, "-c", code, *arguments], cwd=source, env=environment).returncode


def write_command(file: Path) -> None:
    """Write the command of the alias, which some tests start."""
    file.write_text(f"#!{sys.executable}\nimport sys\nfrom celery.__main__ import main\nsys.exit(main())\n")
    file.chmod(0o755)


if __name__ == "__main__":
    sys.exit(main())
