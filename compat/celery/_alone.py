"""Refuses an environment that has Celery too: pip installs both, and one has then overwritten files of the other."""

from importlib.metadata import PackageNotFoundError, version


def check() -> None:
    """Raise ImportError if Celery is installed."""
    try:
        found = version("celery")
    except PackageNotFoundError:
        return
    raise ImportError(
        f"Celery {found} and lavoro-celery are both installed, and both are the import package celery:"
        " run `pip uninstall celery lavoro-celery`, then install one of them"
    )
