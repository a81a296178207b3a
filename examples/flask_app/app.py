"""The site as an object: ``lavoro worker -A examples.flask_app.app``."""

from __future__ import annotations

from . import create_app

app = create_app()
