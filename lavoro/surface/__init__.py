"""The parts of Celery's application object beside tasks and settings."""
