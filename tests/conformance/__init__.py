"""Celery's own integration tests, run on Lavoro: see docs/internals/celerys-own-tests.md."""
