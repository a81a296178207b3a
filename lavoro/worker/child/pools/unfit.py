"""Refuses ``multiprocessing.Pool`` beside greenlets, where it would block all tasks of its process for ever."""

from __future__ import annotations

from multiprocessing import pool
from typing import NoReturn

from lavoro.exceptions import ImproperlyConfigured


def refuse() -> None:
    """Refuse ``multiprocessing.Pool``; its pool of threads works, with greenlets."""
    pool.Pool._setup_queues = _refuse_pool  # type: ignore[attr-defined]


def _refuse_pool(self: object) -> NoReturn:
    raise ImproperlyConfigured(
        "multiprocessing.Pool would block all tasks of a worker with the pool gevent:"
        " use concurrent.futures.ProcessPoolExecutor, or start the worker with -P threads or -P prefork"
    )
