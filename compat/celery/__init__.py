"""Lavoro under the name of Celery: for applications and libraries that import ``celery``.

Each module here has the place of one of Celery's and no code of its own. The version is that of the Celery that
Lavoro is compared with, because libraries decide by it; ``lavoro.__version__`` is Lavoro's.
"""

import sys
from typing import NamedTuple

from celery import _alone, _finder, _loggers
from celery._answer import answer

_alone.check()


class version_info_t(NamedTuple):
    """A version in its parts, as in Celery."""

    major: int
    minor: int
    micro: int
    releaselevel: str
    serial: str


VERSION = version_info = version_info_t(5, 7, 0, "", "")
__version__ = "5.7.0"
__getattr__, __dir__ = answer("lavoro.public")
_loggers.rename()
sys.meta_path.append(_finder.Finder())
