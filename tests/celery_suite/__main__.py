"""Run Celery's unit tests on Lavoro: ``python -m tests.celery_suite [options of pytest]``."""

from __future__ import annotations

import os
import sys

from tests.celery_suite.listed import UNIT, files_to_run
from tests.celery_suite.source import REPOSITORY, fetch


def main() -> None:
    """Replace this process by pytest, with compat before all else on the path and Celery's tests behind it."""
    source = fetch()
    folders = (REPOSITORY / "compat", REPOSITORY, source)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, folders)), "PYTHONDONTWRITEBYTECODE": "1"}
    named = [argument for argument in sys.argv[1:] if argument.startswith(UNIT)]
    options = [argument for argument in sys.argv[1:] if argument not in named]
    command = [
        sys.executable, "-m", "pytest", "-p", "tests.celery_suite.plugin", "--noconftest",
        "-c", str(source / "pyproject.toml"), "--rootdir", str(source),
        "-p", "no:cacheprovider", "-p", "no:lavoro", "-q", *options, *(named or files_to_run(source)),
    ]  # fmt: skip
    os.chdir(source)
    os.execve(sys.executable, command, environment)


if __name__ == "__main__":
    main()
