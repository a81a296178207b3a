"""A bakery's site: settings with the names of Celery 3, and shared tasks in each of its parts."""

from __future__ import absolute_import, unicode_literals  # noqa: UP010

from .celery import app as celery_app

__all__ = ["celery_app"]
