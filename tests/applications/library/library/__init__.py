"""A library application: packages with tasks of their own, found by the application."""

from .celery import app as celery_app

__all__ = ["celery_app"]
