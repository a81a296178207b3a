"""Builds the distribution; refuses an environment that has Celery, because pip knows no conflicts."""

import sysconfig
from importlib.metadata import distributions

from setuptools import setup

# An isolated build does not see the environment on its path, but knows its folders.
folders = [sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
if any(distributions(name="celery", path=folders)):
    raise SystemExit(
        "lavoro-celery cannot be installed beside Celery, both are the import package celery:"
        " run `pip uninstall celery` first"
    )

setup()
