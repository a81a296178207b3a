"""Celery's own unit tests, run on Lavoro through the import package `celery` of compat."""
