"""``lavoro check``: find what is wrong with an application and its database before a deploy."""

from __future__ import annotations

import click

from lavoro.app import Lavoro
from lavoro.beat.check import faults_of_database
from lavoro.cli.common import load_app, load_tasks
from lavoro.cli.doctor import exam_of
from lavoro.cli.options import APP_OPTION
from lavoro.cli.output import say, say_found, say_json
from lavoro.cli.schemas import json_option
from lavoro.exceptions import ImproperlyConfigured, LavoroError
from lavoro.monitoring.before_deploy import examine_code, stored_tasks
from lavoro.monitoring.doctor import Finding, examine_role, schema, server
from lavoro.store.errors import translated
from lavoro.store.schema.roles import LIMITED
from lavoro.store.tx import Tx
from lavoro.text.commands import command
from lavoro.text.printable import plain

OLDEST = 14
"""The oldest release of PostgreSQL that is supported."""


@click.command(short_help="Find what is wrong before a deploy.")
@APP_OPTION
@click.option("--code", is_flag=True, help="Only the application, without the database.")
@click.option("--role", type=click.Choice(LIMITED), default="worker", show_default=True, help="The rights it needs.")
@json_option(list[Finding])
@click.pass_context
def check(context: click.Context, app: str | None, code: bool, role: str, as_json: bool) -> None:
    """Print what is wrong with the application and its database, each with its repair; exit code 1 if something is.

    Settings, tasks and their options, time limits, routes, serializers, schedules; the database's release, encoding,
    tables, indexes and rights; tasks that wait and that the application does not have. It changes nothing.
    """
    found = load_app(context, app)
    load_tasks(found)
    findings = examine_code(found)
    if not code:
        findings += _of_database(found, role)
    if as_json:
        say_json(findings)
    else:
        for each in findings:
            say(plain(f"{each.check}: {each.which}: {each.problem}"))
            say(plain(f"    {each.repair}"))
        say_found(len(findings))
    context.exit(1 if findings else 0)


def _of_database(app: Lavoro, role: str) -> list[Finding]:
    """Examine the database; one that cannot be reached is one finding."""
    try:
        tx = app.database.open("lavoro-check", direct=True)
    except LavoroError as error:
        return [Finding("database", app.database_shown, str(error), "-- start it, or correct broker_url")]
    try:
        with translated():
            exam, version = exam_of(app, tx), tx.connection.info.server_version
            findings = [*schema.encoding(exam), *schema.version(exam)]
            if version < OLDEST * 10_000:
                problem = f"is PostgreSQL {version // 10_000}, and this release needs {OLDEST} or a later one"
                findings.append(Finding("database", app.database_shown, problem, "-- upgrade the server"))
            if not any(each.check == "schema" for each in findings):
                # Rights beyond those of the role are no obstacle to a deploy: `lavoro doctor --role` tells of them.
                findings += [each for each in examine_role(exam, role) if each.problem.startswith("lacks")]
                findings += [*schema.drift(exam), *schema.invalid_indexes(exam), *server.pooler(exam)]
                if role != "producer":  # its user may not read the tables
                    findings += stored_tasks(app, exam)
                findings += _of_schedules(app, tx)
    finally:
        tx.connection.close()
    return findings


def _of_schedules(app: Lavoro, tx: Tx) -> list[Finding]:
    try:
        faults = [*faults_of_database(app, tx)]
    except ImproperlyConfigured:  # the class that reads the entries cannot be imported: a finding of the code
        return []
    return [Finding("schedule", each.name, each.problem, command("schedule", "show", each.name)) for each in faults]
