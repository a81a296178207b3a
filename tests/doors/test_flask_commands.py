"""``flask lavoro``: the verbs for the application that Flask has loaded."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from flask import Flask
from flask.cli import FlaskGroup, ScriptInfo
from flask.testing import FlaskCliRunner

from lavoro.ext.flask import FlaskLavoro
from lavoro.ext.flask_commands import import_path
from tests.doors.flask_sites import FLASK, Site, site_in

SHOP = {
    "shop/__init__.py": """
        from flask import Flask
        from lavoro.ext.flask import FlaskLavoro

        lavoro = FlaskLavoro()

        def create_app(name: str = "default") -> Flask:
            from . import views

            app = Flask(__name__)
            app.config.update(NAME=name)
            lavoro.init_app(app)
            app.register_blueprint(views.pages)
            return app
        """,
    "shop/views.py": """
        import sys
        from flask import Blueprint, current_app
        from lavoro import shared_task

        pages = Blueprint("pages", __name__)
        in_worker = "worker" in sys.argv  # as applications ask when they are imported

        @shared_task
        def tell_name():
            return current_app.config["NAME"] if in_worker else "this is no worker"

        @pages.post("/")
        def page():
            return {"id": tell_name.delay().id}
        """,
}


@pytest.fixture
def app(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Flask]:
    """A site on an empty database."""
    monkeypatch.delenv("LAVORO_DATABASE_URL", raising=False)
    app = Flask(__name__)
    app.config["LAVORO"] = {"broker_url": database_url}
    lavoro = FlaskLavoro(app)
    yield app
    lavoro.close()


@pytest.fixture
def runner(app: Flask) -> FlaskCliRunner:
    """Runs ``flask`` with this site."""
    return app.test_cli_runner()


@pytest.fixture
def site(tmp_path: Path, migrated_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A project in an empty folder."""
    with site_in(tmp_path, migrated_url, monkeypatch) as site:
        site.write(SHOP)
        yield site


def test_migrate_status_and_purge(app: Flask, runner: FlaskCliRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAVORO_APP", "elsewhere")  # for the command lavoro, not for this one
    lavoro = app.extensions["lavoro"]

    applied = runner.invoke(args=["lavoro", "migrate"])
    assert (applied.exit_code, applied.output[:7]) == (0, "applied")
    assert "up to date" in runner.invoke(args=["lavoro", "migrate"]).output

    lavoro.send_task("anything")
    status = runner.invoke(args=["lavoro", "status", "--json"])
    assert status.exit_code == 69  # no worker is alive
    assert [queue["ready"] for queue in json.loads(status.output)["queues"]] == [1]

    purged = runner.invoke(args=["lavoro", "purge", "--force"])
    assert "deleted 1 task from celery" in purged.output


def test_the_verbs_are_those_of_lavoro(runner: FlaskCliRunner) -> None:
    help = runner.invoke(args=["lavoro", "--help"]).output
    assert "Run and look after background tasks." in help
    for verb in ("worker", "migrate", "status", "purge"):
        assert f"\n  {verb} " in help
    assert "--app" not in runner.invoke(args=["lavoro", "status", "--help"]).output
    assert runner.invoke(args=["lavoro", "nonsense"]).exit_code == 2


def test_an_error_is_one_line() -> None:
    app = Flask(__name__)
    app.config["LAVORO"] = {"broker_url": "postgresql://ada:secret@127.0.0.1:1/none"}
    FlaskLavoro(app)

    answer = app.test_cli_runner().invoke(args=["lavoro", "migrate"])

    assert answer.exit_code == 1
    assert answer.output.startswith("Error: cannot connect to postgresql://ada:***@127.0.0.1:1/none")
    assert answer.output.count("\n") == 1


def test_a_missing_schema_is_one_line(runner: FlaskCliRunner) -> None:
    answer = runner.invoke(args=["lavoro", "purge", "--force"])
    assert (answer.exit_code, answer.output[:7]) == (1, "Error: ")
    assert "run `flask --app yourapp lavoro migrate`" in answer.output


def test_a_worker_needs_an_application_that_can_be_named(runner: FlaskCliRunner) -> None:
    answer = runner.invoke(args=["lavoro", "worker"])
    assert answer.exit_code == 2
    assert "lavoro worker -A 'module:create_app()'" in answer.output


@pytest.mark.parametrize(
    ("arguments", "variables", "expected"),
    [
        (["--app", "shop:create_app('live')"], {}, "live"),
        ([], {"FLASK_APP": "shop"}, "default"),
    ],
)
def test_a_worker_serves_the_application_of_flask(
    site: Site, arguments: list[str], variables: dict[str, str], expected: str
) -> None:
    client = site.load("shop").create_app("web").test_client()
    lavoro = site.load("shop").lavoro
    site.environment.update(variables)

    process = site.start(*FLASK, *arguments, "lavoro", "worker", "-P", "threads", "-c", "2")

    id = client.post("/").json["id"]
    assert lavoro.AsyncResult(id).get(timeout=60) == expected, site.log()
    process.terminate()
    assert process.wait(60) == 0, site.log()
    lavoro.close()


def test_a_missing_schema_names_the_command_of_flask(site: Site, database_url: str) -> None:
    site.environment["LAVORO_DATABASE_URL"] = database_url
    answer = site.run(*FLASK, "--app", "shop:create_app('live')", "lavoro", "status")
    assert answer.returncode == 1
    assert """run `flask --app 'shop:create_app('"'"'live'"'"')' lavoro migrate`""" in answer.stderr


def test_the_help_of_the_worker(site: Site) -> None:
    answer = site.run(*FLASK, "--app", "shop", "lavoro", "worker", "--help")
    assert answer.returncode == 0, answer.stderr
    assert "--concurrency" in answer.stdout


def create_app() -> Flask:
    """The factory of a command line of the site's own."""
    return Flask(__name__)


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        (ScriptInfo(app_import_path="src/shop.py:app"), "src/shop.py:app"),
        (ScriptInfo(create_app=create_app), f"{__name__}:create_app()"),
        (ScriptInfo(create_app=lambda: Flask("shop")), None),
        (ScriptInfo(), "app.py"),
        (None, None),
    ],
)
def test_the_name_by_which_a_worker_loads_the_application(
    info: ScriptInfo | None, expected: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "app.py").touch()
    monkeypatch.chdir(tmp_path)
    context = click.Context(click.Command("worker"), parent=click.Context(FlaskGroup(), obj=info))
    assert import_path(context) == expected
    assert import_path(None) is None
