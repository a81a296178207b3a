"""The module that the worker's option -A names."""

from notices import create_app, notices_celery  # noqa: F401

application = create_app()
application.app_context().push()
