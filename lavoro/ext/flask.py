"""Flask: settings from the site's configuration, an application context per task, the commands ``flask lavoro``."""

from __future__ import annotations

import contextlib
import inspect
import os
import sys
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import click
from flask import Flask, current_app, has_app_context
from sqlalchemy import make_url
from werkzeug.serving import is_running_from_reloader

from lavoro.app import Lavoro
from lavoro.application.site import Site
from lavoro.config.settings import Settings
from lavoro.exceptions import ImproperlyConfigured
from lavoro.execution.context import current as current_request
from lavoro.ext.embedded_worker import EmbeddedWorker
from lavoro.ext.flask_commands import commands, import_path, name_app
from lavoro.middleware import RunCall
from lavoro.runtime.current_app import finders
from lavoro.task import Task

P = ParamSpec("P")
R = TypeVar("R", covariant=True)


class FlaskTask(Task[P, R]):
    """A task that runs inside the context of its Flask application.

    In a worker each run has a context of its own, and what was registered with ``teardown_appcontext`` follows it.
    Called directly or eagerly, the task shares the context that is active, and with it ``db.session``.
    """

    abstract = True

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the function in a context."""
        flask_app = self.app.flask_app
        if flask_app is None or self.shares_context(flask_app):
            return super().__call__(*args, **kwargs)
        with flask_app.app_context():
            return super().__call__(*args, **kwargs)

    def shares_context(self, flask_app: Flask) -> bool:
        """Tell whether this code runs in the context of the application already: of a caller here, or of this run."""
        if _active() is not flask_app:
            return False
        request = self.request
        begun = not {"entered", "in_context"}.isdisjoint(vars(request))
        return bool(request.job is None or request.is_eager or begun)


class FlaskLavoro(Lavoro):
    """A Lavoro application for Flask.

    Settings come from ``app.config["LAVORO"]``, a dict of lower-case names; what is not in it from Celery's
    ``app.config["CELERY"]``, then from the keywords given here. Without a database among them, and without
    ``LAVORO_DATABASE_URL``, tasks go into the PostgreSQL of ``SQLALCHEMY_DATABASE_URI``::

        lavoro = FlaskLavoro()

        def create_app():
            app = Flask(__name__)
            app.config["LAVORO"] = {"broker_url": "postgresql://localhost/shop"}
            lavoro.init_app(app)
            return app

    One object may serve several Flask applications: the one whose context is active is meant, else the one that was
    given last. A worker discovers the modules in the package of the Flask application; ``discover`` names others, and
    False none.
    """

    def __init__(
        self, app: Flask | None = None, *, discover: str | Sequence[str] | bool | None = None, **options: Any
    ) -> None:
        self._sites: weakref.WeakKeyDictionary[Flask, Site] = weakref.WeakKeyDictionary()
        self._last: Flask | None = None
        options.setdefault("task_cls", FlaskTask)
        super().__init__(discover=_packages(discover), **options)
        self.middleware.within(_in_context)
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Serve this Flask application: with its configuration, as its extension ``lavoro`` and its commands."""
        conf, before, config = Settings(), self._before, app.config
        conf.add_defaults(lambda: _default_database(config))
        conf.add_source(lambda: before.conf.changes)
        conf.add_source(lambda: {**config.get("CELERY", {}), **config.get("LAVORO", {})})
        self._sites[app] = site = self._make_site(conf)
        weakref.finalize(site, site.opened.close).atexit = False  # it goes with the Flask application
        self.flask_app = app
        app.extensions["lavoro"] = self
        app.extensions.setdefault("celery", self)
        app.cli.add_command(commands)
        name_app(click.get_current_context(silent=True))
        self.set_default()
        self.set_current()

    def packages_to_discover(self) -> list[str]:
        """Return the packages that the setting ``lavoro_discover`` names, else that of the Flask application."""
        if self.conf["lavoro_discover"] is not None or self.flask_app is None:
            return super().packages_to_discover()
        package = getattr(sys.modules.get(self.flask_app.import_name), "__package__", None)
        return [package] if package else []

    def in_context(self) -> contextlib.AbstractContextManager[Any]:
        """Return a context of the Flask application, for code of it that runs outside of a task."""
        flask_app = self.flask_app
        return contextlib.nullcontext() if flask_app in (None, _active()) else flask_app.app_context()

    @property
    def flask_app(self) -> Flask | None:
        """The Flask application that is meant here and now; None before the first ``init_app``."""
        active = _active()
        return active if active in self._sites else self._last

    @flask_app.setter
    def flask_app(self, app: Flask) -> None:
        self._last = app

    @property
    def site(self) -> Site:
        """The site of the current Flask application."""
        flask_app = self.flask_app
        return self._before if flask_app is None else self._sites[flask_app]

    @site.setter
    def site(self, site: Site) -> None:
        self._before = site  # settings from before there is a Flask application: they are for all of them

    def register_task(self, task: Any, **options: Any) -> Any:
        """Add a task object or class of one's own making; whatever its class, it runs in a context. See ``Lavoro``."""
        task = task() if inspect.isclass(task) else task
        if not isinstance(task, FlaskTask):
            cls = type(task)
            task.__class__ = type(cls.__name__, (cls, FlaskTask), {"__module__": cls.__module__})
        return super().register_task(task, **options)

    @contextlib.contextmanager
    def transaction(self, connection: Any = None) -> Iterator[None]:
        """Let every task sent in the block join a transaction; if none is given, that of Flask-SQLAlchemy's session.

        The tasks exist when it commits, and never did when it is rolled back::

            db.session.add(user)
            db.session.flush()
            with lavoro.transaction():
                send_welcome.delay(user.id)
            db.session.commit()
        """
        with super().transaction(_session() if connection is None else connection):
            yield

    def engines(self) -> list[tuple[str, Any]]:
        """Return the SQLAlchemy engines that tasks use: those of Flask-SQLAlchemy, and of ``lavoro_engines``."""
        flask_app = self.flask_app
        db: Any = flask_app.extensions.get("sqlalchemy") if flask_app is not None else None
        if flask_app is None or not hasattr(type(db), "engines"):  # which Flask-SQLAlchemy has from 3.0
            return super().engines()
        with flask_app.app_context():
            own = [("Flask-SQLAlchemy" + (f" ({bind})" if bind else ""), engine) for bind, engine in db.engines.items()]
        return own + super().engines()

    def embed_worker(
        self, app: Flask | None = None, *, concurrency: int = 10, load: str | None = None
    ) -> EmbeddedWorker:
        """Run a worker beside the web process, for sites too small for a second service.

        It starts with the first request, so that neither the other commands of Flask nor the tests start one; a machine
        runs one, however many processes serve the site; it ends with the web process. ``load`` is what ``lavoro worker
        -A`` would be told, if the worker cannot load the application as Flask's command line or by its module.
        """
        app = app or self.flask_app
        if app is None:
            raise ImproperlyConfigured("embed_worker() needs the Flask application: call init_app(app) before it")
        name, conf = load or _import_path(app), self._sites[app].conf
        worker = EmbeddedWorker(
            ["-A", name, "-c", str(concurrency)],
            site=lambda: f"{name} {conf.database_url or Path(conf.lavoro_data_dir or '').resolve()}",
            patience=lambda: 0.0 if is_running_from_reloader() else (conf.seconds("lavoro_shutdown_grace") or 0.0) + 5,
        )

        @app.before_request
        def start() -> None:
            if not app.testing and current_request.get() is None:  # tasks too may use the site's test client
                worker.start()

        return worker

    def close(self) -> None:
        """Close the connections, and be current no longer."""
        super().close()
        for site in (self._before, *self._sites.values()):
            site.close()


def _packages(given: str | Sequence[str] | bool | None) -> str | Sequence[str] | None:
    return () if given is False else None if given is True else given


def _in_context(call: RunCall, proceed: Callable[[RunCall], Any]) -> Any:
    """Run a task and its middleware in one context."""
    flask_app = call.task.app.flask_app
    if flask_app is None or call.task.shares_context(flask_app):
        return proceed(call)
    with flask_app.app_context():
        vars(call.request)["in_context"] = True
        return proceed(call)


def _active() -> Flask | None:
    return current_app._get_current_object() if has_app_context() else None  # type: ignore[attr-defined]


def _meant() -> Lavoro | None:
    """Return the application that belongs to the active Flask application, for shared tasks and ``current_app``."""
    extensions = current_app.extensions if has_app_context() else {}
    found = extensions.get("lavoro") or extensions.get("celery")
    return found if isinstance(found, Lavoro) else None


finders.append(_meant)


def _default_database(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the setting for Flask-SQLAlchemy's database, if it is one of PostgreSQL and the environment names none."""
    uri = config.get("SQLALCHEMY_DATABASE_URI")
    if not uri or os.environ.get("LAVORO_DATABASE_URL"):
        return {}
    url = make_url(uri)
    if url.get_backend_name() not in ("postgresql", "postgres"):
        return {}
    return {"database_url": url.set(drivername="postgresql").render_as_string(hide_password=False)}


def _session() -> Any:
    db = current_app.extensions.get("sqlalchemy") if has_app_context() else None
    if db is None:
        raise ImproperlyConfigured(
            "transaction() without a session takes that of Flask-SQLAlchemy, in an application context;"
            " otherwise give it the session or connection: transaction(session)"
        )
    return db.session


def _import_path(app: Flask) -> str:
    """Return how a worker can load the application: as Flask's command line did, else by the file it was made in."""
    named = import_path(click.get_current_context(silent=True)) or os.environ.get("FLASK_APP")
    return named or getattr(sys.modules.get(app.import_name), "__file__", None) or app.import_name
