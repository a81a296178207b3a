"""A small Flask site whose slow work is done by Lavoro."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flask import Flask
from sqlalchemy import make_url

from lavoro.ext.flask import FlaskLavoro

from . import tasks
from .models import db
from .views import site

__all__ = ["create_app", "tasks"]

HERE = Path(__file__).parent

DEFAULTS: Mapping[str, Any] = {
    "DATA_FOLDER": str(HERE / "instance"),
    "BACKUP_FOLDER": str(HERE.parents[1]),
    "MAX_CONTENT_LENGTH": 16 * 1024 * 1024,
    "MAIL_FROM": "studio@example.org",
    "SMTP_HOST": "127.0.0.1",
    "SMTP_PORT": 8025,
    "REMINDER_SECONDS": 30,
    "LAVORO": {"task_track_started": True, "result_extended": True},
}


def create_app(config: Mapping[str, Any] | None = None) -> Flask:
    """Build the site from ``DEFAULTS``, the environment (``EXAMPLE_SMTP_PORT=25``) and ``config``; the last one wins.

    Example::

        create_app({"DATA_FOLDER": "/srv/studio", "LAVORO": {"broker_url": "postgresql://localhost/studio"}})
    """
    flask_app = Flask(__name__, instance_path=str(HERE / "instance"))
    flask_app.config.from_mapping(DEFAULTS)
    flask_app.config.from_prefixed_env("EXAMPLE")
    flask_app.config.from_mapping(config or {})
    connect(flask_app)
    flask_app.register_blueprint(site)
    flask_app.cli.command("create-tables")(db.create_all)
    return flask_app


def connect(flask_app: Flask) -> None:
    """Give the site its queue, and put its own tables into the queue's database, so that one transaction holds both."""
    lavoro = FlaskLavoro()
    lavoro.init_app(flask_app)
    url = make_url(lavoro.database_url).set(drivername="postgresql+psycopg")
    flask_app.config.setdefault("SQLALCHEMY_DATABASE_URI", url.render_as_string(hide_password=False))
    db.init_app(flask_app)
