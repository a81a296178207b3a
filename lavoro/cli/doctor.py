"""``lavoro doctor``: find faults of the database, each with its repair."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import click

from lavoro.app import Lavoro
from lavoro.cli.common import load_app
from lavoro.cli.options import APP_OPTION
from lavoro.cli.output import say, say_found, say_json
from lavoro.cli.schemas import json_option
from lavoro.monitoring.doctor import Exam, Finding, examine, examine_role, unseen
from lavoro.store.errors import translated
from lavoro.store.schema.roles import LIMITED
from lavoro.store.tx import Tx
from lavoro.text.printable import plain


class Found(NamedTuple):
    """The faults, and the subjects that this user may not see."""

    findings: list[Finding]
    unseen: list[str]


@click.command(short_help="Print what is wrong with the database, and its repair.")
@APP_OPTION
@click.option(
    "--role", type=click.Choice(LIMITED), help="Only compare the rights of the app's database user with a role's."
)
@json_option(Found)
@click.pass_context
def doctor(context: click.Context, app: str | None, role: str | None, as_json: bool) -> None:
    """Examine the database and print what is wrong, with its repair; exit code 1 when there is something.

    It changes nothing. With --role it checks instead whether the app's database user has the rights of a producer,
    worker or reader, and none beyond.
    """
    lavoro = load_app(context, app)
    tx = lavoro.database.open("lavoro-doctor", direct=True)
    try:
        with translated():
            exam = exam_of(lavoro, tx)
            findings = examine_role(exam, role) if role else examine(exam)
            hidden = [] if role else unseen(exam)
    finally:
        tx.connection.close()
    say_json(Found(findings, hidden)) if as_json else _tell(findings, hidden, lavoro.database_shown)
    context.exit(1 if findings else 0)


def exam_of(lavoro: Lavoro, tx: Tx) -> Exam:
    """Make an examination of an application's database."""
    conf = lavoro.conf
    failures = conf.failures_kept
    successes = conf.seconds("result_expires") or None
    return Exam(
        tx=tx,
        retention={"finished_success": successes, "finished_failure": failures, "attempt": failures},
        pooled=conf.lavoro_pooled,
        direct_url=conf.lavoro_direct_url,
    )


def _tell(findings: list[Finding], hidden: list[str], place: str) -> None:
    for repair, same in itertools.groupby(findings, key=lambda finding: finding.repair):
        for finding in same:
            say(plain(f"{finding.check}: {finding.which} {finding.problem}"))
        say(f"    {repair}")
    for what in hidden:
        say(plain(f"not seen: {what}"))
    say_found(len(findings), place)
