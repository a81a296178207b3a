"""The blocks in which calls join a caller's transaction: each belongs to one thread, greenlet or asyncio task."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
from collections.abc import Hashable, Iterator, Mapping
from types import MappingProxyType
from typing import Any


class _Block:
    """One block: its connection, the thread or asyncio task that entered it, and whether it has ended.

    Threads, greenlets and asyncio tasks that are started inside a block may have a copy of its context variables. The
    copy outlives the block, and they must not use its connection.
    """

    __slots__ = ("connection", "ended", "execution", "outer")

    def __init__(self, connection: Any, outer: _Block | None) -> None:
        self.connection, self.outer = connection, outer
        self.execution = _execution()
        self.ended = False


_blocks: contextvars.ContextVar[Mapping[Hashable, _Block]] = contextvars.ContextVar(
    "lavoro_blocks", default=MappingProxyType({})
)
"""The innermost block by application and database: the calls of one never join those of another."""


@contextlib.contextmanager
def joining(app: Any, connection: Any) -> Iterator[None]:
    """Let the application's calls inside the block join the transaction of a connection."""
    owner = _owner(app)
    known = _blocks.get()
    block = _Block(connection, known.get(owner))
    token = _blocks.set({**known, owner: block})
    try:
        yield
    finally:
        block.ended = True
        with contextlib.suppress(ValueError):  # a generator may be closed in another context than it was begun in
            _blocks.reset(token)


def joined(app: Any) -> Any:
    """Return the connection of the application's block that this code is in, None outside of all.

    Blocks that have ended do not count. Raises ``RuntimeError`` inside a block of another thread, greenlet or asyncio
    task: its connection may be in use there, and a call that is stored on its own would survive a rollback.
    """
    blocks = _blocks.get()
    block = blocks.get(_owner(app)) if blocks else None
    while block is not None and block.ended:
        block = block.outer
    if block is None:
        return None
    if block.execution != _execution():
        raise RuntimeError(
            "this call is inside the block app.transaction(...) of another thread, greenlet or asyncio task, whose"
            " connection it must not use: send the task from there, or pass a connection of your own (connection=...),"
            " or start the thread or task with an empty context (contextvars.Context().run)"
        )
    return block.connection


def _owner(app: Any) -> Hashable:
    """Return the owner of a block: the site and its database, because settings may name another one later."""
    return app.site, *app.site.place


def _execution() -> tuple[int, Any]:
    """Identify the code that runs here: its thread, or its greenlet under gevent, and its asyncio task."""
    try:
        task = asyncio.current_task()
    except RuntimeError:  # no event loop runs here
        task = None
    return threading.get_ident(), task
