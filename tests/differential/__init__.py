"""Differential tests: plain programs run on Celery with Redis and on Lavoro, and are compared key by key."""
