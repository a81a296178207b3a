"""Waiting for many tasks: one connection tells which have ended, and few statements read their outcomes."""

from __future__ import annotations

import math
import time
import uuid
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any, NamedTuple

from lavoro import states
from lavoro.exceptions import OperationalError, TimeoutError
from lavoro.result.waiting import described
from lavoro.store import results
from lavoro.store.result_listener import Subscription
from lavoro.store.results import Ended

if TYPE_CHECKING:
    from lavoro.result.async_result import AsyncResult

_QUICK, _SLOW = 0.005, 0.1
"""Seconds from one read to the next while tasks end one after the other: each pause is twice the one before."""
_COST = 20
"""A look at all tasks is repeated after so many times its duration: it takes at most a twentieth of the time."""


class Patience(NamedTuple):
    """How long a wait lasts, and how often it looks."""

    deadline: float
    """By the monotonic clock."""
    interval: float
    """Seconds between looks, in case a notification is lost."""
    on_interval: Callable[[], object]

    @classmethod
    def of(cls, timeout: float | None, interval: float | None, on_interval: Callable[[], object]) -> Patience:
        """Begin to wait, for so many seconds; None: without end."""
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        return cls(deadline, 0.5 if interval is None else interval, on_interval)

    @property
    def left(self) -> float:
        """The seconds that are left."""
        return max(0.0, self.deadline - time.monotonic())

    @property
    def seconds(self) -> float | None:
        """The seconds that are left, as a timeout."""
        return None if self.deadline == math.inf else self.left


def gather(waited: Iterable[AsyncResult[Any]], patience: Patience) -> Generator[AsyncResult[Any], None, None]:
    """Yield these results as their tasks end; each then knows its outcome, so that reading it costs no statement.

    Raises this package's ``TimeoutError``. A database that goes away meanwhile is waited for. A caller that stops
    early closes this, which ends the subscription: a generator left to the garbage collector ends it at any time.
    """
    sites: dict[Any, dict[uuid.UUID, list[AsyncResult[Any]]]] = {}
    for result in waited:
        sites.setdefault(result.site, {}).setdefault(result.row_id, []).append(result)
    for site, by_id in sites.items():
        with closing(Gathering(site, by_id, patience).ends()) as ends:
            for id, ended in ends:
                for result in by_id[id]:
                    result.learn(ended)
                    yield result


def by_site(results: Iterable[AsyncResult[Any]]) -> dict[Any, list[AsyncResult[Any]]]:
    """Sort results by the site, and so the database, that has their tasks; eager calls have none."""
    sites: dict[Any, list[AsyncResult[Any]]] = {}
    for result in results:
        if result.is_stored:
            sites.setdefault(result.site, []).append(result)
    return sites


def forget(dropped: Iterable[AsyncResult[Any]]) -> None:
    """Drop the stored outcomes of these tasks, in one statement for each database."""
    for site, each in by_site(dropped).items():
        for result in each:
            result.unlearn()
        with site.database.tx() as tx:
            results.forget(tx, *{result.row_id for result in each})


def learn(asked: Iterable[AsyncResult[Any]]) -> None:
    """Read the outcomes of those that are over and not known here."""
    sites: dict[Any, dict[uuid.UUID, list[AsyncResult[Any]]]] = {}
    for result in asked:
        if not result.is_known:
            sites.setdefault(result.site, {}).setdefault(result.row_id, []).append(result)
    for site, by_id in sites.items():
        for page in results.outcomes(site.database, list(by_id)):
            for id, ended in page.items():
                for result in by_id[id]:
                    result.learn(ended)


def states_of(asked: Iterable[AsyncResult[Any]]) -> Callable[[AsyncResult[Any]], str | None]:
    """Return the function that tells the state of each of these results: None while its task is not over.

    It takes one statement for each database.
    """
    sites: dict[Any, dict[uuid.UUID, str]] = {}
    for result in asked:
        if not result.is_known:
            sites.setdefault(result.site, {})[result.row_id] = ""
    for site, ids in sites.items():
        with site.database.tx() as tx:
            sites[site] = results.states(tx, list(ids))
    return lambda result: result.state if result.is_known else sites[result.site].get(result.row_id)


def raise_of(before: Sequence[AsyncResult[Any]]) -> list[AsyncResult[Any]]:
    """Raise the error of the first of these tasks that failed; return those that are not over.

    The tasks behind one that failed never start.
    """
    found = states_of(before)
    for parent in before:
        if found(parent) in states.PROPAGATE_STATES:
            parent.maybe_throw()
    return [parent for parent in before if found(parent) is None]


class Gathering:
    """One wait for many tasks of one site: it subscribes first and looks second, so that no end falls between."""

    def __init__(self, site: Any, ids: Iterable[uuid.UUID], patience: Patience) -> None:
        self._site, self._patience = site, patience
        self._pending = dict.fromkeys(ids)
        """Ids of tasks whose outcome has not been read, in order."""
        self._told: set[uuid.UUID] = set()
        """Those of them that have ended."""
        self._look_at, self._tick_at = 0.0, time.monotonic() + patience.interval
        self._read_at, self._pause = 0.0, _QUICK

    def ends(self) -> Generator[tuple[uuid.UUID, Ended], None, None]:
        """Yield each task with its outcome, as they end."""
        listener = self._site.result_listener
        if not listener.listening:
            self._look()
            yield from self._read()
        if not self._pending:
            return  # without a listening connection
        patience = min(self._patience.interval, self._patience.left)
        subscription = listener.subscribe(*self._pending, timeout=patience)
        try:
            self._look_at = 0.0
            while self._pending:
                self._await(subscription)
                yield from self._read()
        finally:
            listener.unsubscribe(subscription)

    def _await(self, subscription: Subscription) -> None:
        """Wait until there is something to read: all that is left, a page, or what has ended since some time."""
        while True:
            now, ended = time.monotonic(), subscription.take()
            late = now >= self._patience.deadline
            if ended is None or late or now >= self._look_at:
                self._look()
            else:
                self._told |= ended & self._pending.keys()
            enough = min(results.PAGE, len(self._pending))
            if self._told and (late or now >= self._read_at or len(self._told) >= enough):
                return
            if late:
                raise TimeoutError(self._missing())
            if now >= self._tick_at:
                self._tick_at = now + self._patience.interval
                self._patience.on_interval()
            next_read = self._read_at if self._told else math.inf
            until = min(next_read, self._look_at, self._tick_at, self._patience.deadline)
            subscription.wait(max(0.0, until - time.monotonic()))

    def _look(self) -> None:
        """Find all that has ended; an outage of the database is waited for."""
        began = time.monotonic()
        try:
            with self._site.database.tx() as tx:
                self._told |= results.states(tx, list(self._pending)).keys()
        except OperationalError:
            if not self._patience.left:
                raise
        ended = time.monotonic()
        self._look_at = ended + max(self._patience.interval, _COST * (ended - began))

    def _read(self) -> Generator[tuple[uuid.UUID, Ended], None, None]:
        """Yield the outcomes of the tasks that are known to have ended."""
        told, self._told = list(self._told), set()
        if not told:
            return
        began = time.monotonic()
        try:
            for page in results.outcomes(self._site.database, told):
                for id, ended in page.items():
                    del self._pending[id]
                    yield id, ended
        except OperationalError:
            if not self._patience.left:
                raise
            self._look_at = min(self._look_at, began + self._patience.interval)
        busy = began < self._read_at + self._pause
        self._pause = min(_SLOW, 2 * self._pause) if busy else _QUICK
        self._read_at = time.monotonic() + self._pause

    def _missing(self) -> str:
        """Describe the first of the tasks that are not over."""
        first = next(iter(self._pending))
        with self._site.database.tx() as tx:
            task = results.fetch(tx, first)
        rest = len(self._pending) - 1
        more = f"; {rest} more of this set {'has' if rest == 1 else 'have'} none either" if rest else ""
        return f"task {described(self._site, str(first), task and task.name, task)}{more}"
