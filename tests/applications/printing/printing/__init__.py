"""A printing service, with Celery's import lines: it runs through the import package celery alone."""
