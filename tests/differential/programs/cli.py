"""The command line: options before the verb, what is refused, and exit codes."""

import os
import subprocess
import sys

from celery import Celery
from record import say

POOLS = ()
app = Celery("cli")


def run(*arguments):
    environment = {**os.environ, "RECORD_WHERE": "command"}
    done = subprocess.run(
        [sys.executable, "-m", "celery", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment,
        stdin=subprocess.DEVNULL,
    )
    return done.returncode


def main():
    for arguments in [
        ("--version",),
        ("--help",),
        ("worker", "--help"),
        ("-A", "cli", "worker", "--help"),
        ("nothing",),
        ("-A", "no_such_module", "worker"),
        ("-A", "cli", "worker", "--no-such-option"),
        ("-A", "cli", "worker", "-c", "x"),
        ("-A", "cli", "worker", "-P", "nothing"),
        ("-A", "cli", "worker", "-l", "NOTHING"),
        ("-q", "-C", "-A", "cli", "worker", "--help"),
        ("--workdir", "/", "-A", "cli", "worker", "--help"),
        ("-b", "redis://nowhere", "--result-backend", "redis://nowhere", "-A", "cli", "worker", "--help"),
        ("--config", "none", "--loader", "default", "-A", "cli", "worker", "--help"),
        ("-A", "cli", "purge", "-f"),
        ("-A", "cli", "worker", "--soft-time-limit", "x"),
    ]:
        say(f"exit code of {' '.join(arguments)}", run(*arguments))
