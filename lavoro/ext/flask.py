"""Flask: configuration from the app's, an app context around every task, and ``flask lavoro`` commands."""

from __future__ import annotations

import atexit
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import click
from flask import Flask, current_app, has_app_context
from flask.cli import AppGroup, with_appcontext

from lavoro.app import Lavoro
from lavoro.cli.migrate import migrate
from lavoro.cli.purge import purge
from lavoro.cli.status import status
from lavoro.cli.worker import worker
from lavoro.errors import ImproperlyConfigured
from lavoro.task import Task


class FlaskTask(Task[..., Any]):
    """A task that runs inside the Flask application's context."""

    abstract = True

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run in a context; in one that is there already when it is called directly, or eagerly in a request."""
        flask_app = self.app.flask_app
        if flask_app is None or (has_app_context() and current_app._get_current_object() is flask_app):  # type: ignore[attr-defined]
            return super().__call__(*args, **kwargs)
        with flask_app.app_context():
            return super().__call__(*args, **kwargs)


class FlaskLavoro(Lavoro):
    """A Lavoro application for Flask.

    Settings come from ``app.config["LAVORO"]`` (or Celery's ``"CELERY"``), a dict of lower-case names::

        lavoro = FlaskLavoro()

        def create_app():
            app = Flask(__name__)
            app.config["LAVORO"] = {"broker_url": "postgresql://localhost/shop"}
            lavoro.init_app(app)
            return app
    """

    flask_app: Flask | None = None

    def __init__(self, app: Flask | None = None, **options: Any) -> None:
        options.setdefault("task_cls", FlaskTask)
        super().__init__(options.pop("main", None), **options)
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Take the Flask application's configuration, and register as its extension ``lavoro``."""
        self.flask_app = app
        self.main = self.main or app.import_name
        self.config_from_object(_configuration(app))
        app.extensions["lavoro"] = self
        app.extensions.setdefault("celery", self)
        app.cli.add_command(_commands())
        self.set_default()

    def embed_worker(self, app_name: str | None = None, *, concurrency: int = 10) -> subprocess.Popen[bytes]:
        """Run a worker beside this web process, for sites too small for a second service.

        It is a process of its own, so a busy web process cannot starve it; it stops when this process ends, however it
        ends. ``app_name`` is what ``lavoro worker -A`` would be told; by default the environment's ``FLASK_APP``.
        """
        name = app_name or os.environ.get("FLASK_APP")
        if not name:
            raise ImproperlyConfigured("embed_worker needs the application's name: embed_worker('shop:create_app()')")
        ours, theirs = os.pipe()
        command = [sys.executable, "-m", "lavoro", "worker", "-A", name, "-c", str(concurrency), "--stop-with", str(ours)]
        process = subprocess.Popen(command, pass_fds=(ours,))
        os.close(ours)
        atexit.register(_end_worker, process, theirs)
        return process


def _configuration(app: Flask) -> dict[str, Any]:
    """Return the part of a Flask configuration that is meant for us."""
    found = app.config.get("LAVORO") or app.config.get("CELERY") or {}
    return dict(found)


def _end_worker(process: subprocess.Popen[bytes], descriptor: int) -> None:
    os.close(descriptor)  # the worker sees its parent leave
    try:
        process.wait(40)
    except subprocess.TimeoutExpired:
        process.kill()


def _commands() -> AppGroup:
    group = AppGroup("lavoro", help="Run and look after background tasks.")
    for command in (worker, migrate, status, purge):
        group.add_command(_for_this_app(command))
    return group


def _for_this_app(command: click.Command) -> click.Command:
    """The same command, which finds the application of the Flask command line instead of ``-A``."""

    @click.pass_context
    def run(context: click.Context, /, **options: Any) -> Any:
        options["app"] = options.get("app") or os.environ.get("FLASK_APP") or current_app.import_name
        return context.invoke(command, **options)

    callback: Callable[..., Any] = with_appcontext(run)
    return click.Command(command.name, callback=callback, params=command.params, help=command.help)
