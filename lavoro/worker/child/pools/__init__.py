"""Pools: how the slots of a child run side by side, the only place where gevent, threads and solo differ."""

from __future__ import annotations

from importlib import import_module

from lavoro.exceptions import ImproperlyConfigured
from lavoro.worker.child.pools.base import Pool

NAMES = ("gevent", "threads", "prefork", "solo")


def pool_class(name: str) -> type[Pool]:
    """Return the class of a pool; its module is imported only now, for gevent's must not be without gevent's patches.

    ``prefork`` is many children of one slot each, so inside a child it is ``solo``.
    """
    if name not in NAMES:
        raise ImproperlyConfigured(f"there is no pool {name!r}; choose one of {', '.join(NAMES)}")
    module = import_module(f"lavoro.worker.child.pools.{'solo' if name == 'prefork' else name}")
    return module.POOL  # type: ignore[no-any-return]
