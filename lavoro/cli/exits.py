"""The exit codes of the command line, each with its meaning."""

from __future__ import annotations

import enum

import click


class Exit(enum.IntEnum):
    """The code with which a verb ends."""

    DONE = 0
    ERROR = 1
    USAGE = 2
    FAILED = 3
    STATE = 4
    UNKNOWN = 5
    NOBODY = 69
    INTERRUPTED = 130


MEANINGS: dict[Exit, str] = {
    Exit.DONE: (
        "done; of `worker`: it was told to stop, or has ended by itself and none of its tasks failed; of `status`: at"
        " least one worker is alive; of `check`, `doctor` and `schedule check`: nothing found; of `health`: it is well"
    ),
    Exit.ERROR: (
        "an error, told in one line on standard error; of `worker`: it could not start, five processes in a row failed"
        " to begin, or its failed tasks could not be counted; of `check`, `doctor` and `schedule check`: something"
        " found; of `health`: not well; of `multi start` and `multi restart`: a node did not begin; a question was"
        " answered with no"
    ),
    Exit.USAGE: "the command line is wrong, or asks for something that this release does not have",
    Exit.FAILED: (
        "of `run`, `worker --drain` and `--max-tasks`: a task that it ran has ended as `FAILURE` or `REJECTED`; of"
        " `result`: the task has failed"
    ),
    Exit.STATE: "a task is in a state in which this cannot be done to it; the line says which",
    Exit.UNKNOWN: "there is no such task, queue or limit",
    Exit.NOBODY: "of `status`: no worker is alive; of `inspect` and `control`: none answers, or none has that name",
    Exit.INTERRUPTED: "interrupted with Ctrl-C",
}
"""The meaning of each code, for the reference."""


class Failure(click.ClickException):
    """An error of a verb, told in one line, with its exit code."""

    def __init__(self, message: str, code: Exit = Exit.ERROR) -> None:
        super().__init__(message)
        vars(self)["exit_code"] = int(code)  # click has one for all objects of a class
