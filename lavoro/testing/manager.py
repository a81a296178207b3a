"""A helper for tests with a worker, as Celery's: it waits for results, for events, and for the end of all tasks."""

from __future__ import annotations

import itertools
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, TextIO

from lavoro import states
from lavoro.app import Lavoro
from lavoro.exceptions import TimeoutError
from lavoro.store import queues

Errors = tuple[type[BaseException], ...]

IDLE = 0.02
"""Seconds between two looks whether a task still runs."""


class Sentinel(Exception):
    """The event has not happened yet."""


class ManagerMixin:
    """The methods, for a class with an ``app``; those about the states of tasks in workers raise NotSupported."""

    app: Lavoro

    def _init_manager(
        self, block_timeout: float = 1800.0, no_join: bool = False, stdout: TextIO | None = None,
        stderr: TextIO | None = None,
    ) -> None:  # fmt: skip
        self.stdout = stdout or sys.stdout
        self.stderr = stderr or sys.stderr
        self.connerrors: Errors = tuple(self.app.connection().recoverable_connection_errors)
        self.block_timeout, self.no_join = block_timeout, no_join

    def remark(self, s: str, sep: str = "-") -> None:
        """Print a line."""
        print(f"{sep}{s}", file=self.stdout)

    def warn(self, s: str) -> None:
        """Print a line to standard error."""
        print(s, file=self.stderr)

    # Results

    def join(self, r: Any, propagate: bool = False, max_retries: int = 10, **options: Any) -> Any:
        """Return the results of a result, or of a set of them, with ``options`` of its ``get``; wait again in between.

        Raises AssertionError if they are missing after so many waits.
        """
        if self.no_join:
            return None
        for _ in range(max_retries) if max_retries else itertools.count():
            try:
                return r.get(propagate=propagate, **options)
            except TimeoutError as error:
                missing = self.missing_results(getattr(r, "results", None) or [r])
                self.remark(f"Still waiting for [{', '.join(missing)[:200]}]: {error!r}", "!")
            except self.connerrors as error:
                self.remark(f"join: connection lost: {error!r}", "!")
        raise AssertionError("Test failed: Missing task results")

    def missing_results(self, r: Iterable[Any]) -> list[str]:
        """Return the ids of those that are not there yet."""
        return [result.id for result in r if not result.ready()]

    # Events

    def wait_for(
        self, fun: Callable[..., Any], catch: Errors, desc: str = "thing", args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None, errback: Callable[..., object] | None = None, max_retries: int = 10,
        interval_start: float = 0.1, interval_step: float = 0.5, interval_max: float = 5.0, emit_warning: bool = False,
        **_: Any,
    ) -> Any:  # fmt: skip
        """Call a function until it raises none of the errors ``catch``; return what it returns, or raise the last."""

        def tell(error: BaseException, intervals: Iterator[float], retries: int) -> float:
            interval = next(intervals)
            if emit_warning:
                self.warn(f"Still waiting for {desc}.  Trying again in {interval:g} seconds: {error!r}")
            if errback:
                errback(error, interval, retries)
            return interval

        return self.retry_over_time(
            fun, catch, args, kwargs, errback=tell, max_retries=max_retries,
            interval_start=interval_start, interval_step=interval_step, interval_max=interval_max,
        )  # fmt: skip

    def ensure_not_for_a_while(
        self, fun: Callable[..., Any], catch: Errors, desc: str = "thing", max_retries: int = 20,
        interval_start: float = 0.1, interval_step: float = 0.02, interval_max: float = 1.0,
        emit_warning: bool = False, **options: Any,
    ) -> None:  # fmt: skip
        """Call a function for a while; raise AssertionError if it ever raises none of the errors ``catch``."""
        try:
            self.wait_for(
                fun, catch, desc, max_retries=max_retries, interval_start=interval_start, interval_step=interval_step,
                interval_max=interval_max, emit_warning=emit_warning, **options,
            )  # fmt: skip
        except catch:
            return
        raise AssertionError(f"Should not have happened: {desc}")

    def retry_over_time(
        self, fun: Callable[..., Any], catch: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None,
        errback: Callable[..., float] | None = None, max_retries: int | None = None, interval_start: float = 2.0,
        interval_step: float = 2.0, interval_max: float = 30.0, **_: Any,
    ) -> Any:  # fmt: skip
        """Call a function again after each of the errors, later each time."""
        intervals = (min(interval_start + step * interval_step, interval_max) for step in itertools.count())
        for retries in itertools.count():
            try:
                return fun(*args, **(kwargs or {}))
            except catch as error:
                if max_retries is not None and retries >= max_retries:
                    raise
                time.sleep(next(intervals) if errback is None else errback(error, intervals, retries))
        return None

    def true_or_raise(self, fun: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Return what a function returns; raise Sentinel if that is false."""
        answer = fun(*args, **kwargs)
        if not answer:
            raise Sentinel
        return answer

    # The tasks in workers

    def inspect(self, timeout: float = 3.0) -> Any:
        """Return what tells of the workers."""
        return self.app.control.inspect(timeout=timeout)

    def query_tasks(self, ids: Iterable[str], timeout: float = 0.5) -> Iterator[tuple[str, Any]]:
        """Yield each worker's name with what it knows of these tasks."""
        yield from (self.inspect(timeout).query_task(*ids) or {}).items()

    def query_task_states(self, ids: Iterable[str], timeout: float = 0.5) -> dict[str, set[str]]:
        """Return the ids by their states in the workers."""
        found: dict[str, set[str]] = defaultdict(set)
        for _, reply in self.query_tasks(ids, timeout=timeout):
            for id, (state, _) in reply.items():
                found[state].add(id)
        return found

    def is_received(self, ids: Iterable[str], **options: Any) -> bool:
        """Whether workers have all of these tasks."""
        return self._are_in(("reserved", "active", "ready"), ids, **options)

    def is_accepted(self, ids: Iterable[str], **options: Any) -> bool:
        """Whether workers run all of these tasks, or have run them."""
        return self._are_in(("active", "ready"), ids, **options)

    def _are_in(self, wanted: Sequence[str], ids: Iterable[str], timeout: float = 0.5) -> bool:
        ids = list(ids)
        found = self.query_task_states(ids, timeout=timeout)
        return all(any(id in found[state] for state in wanted) for id in ids)

    def assert_accepted(self, ids: Any, interval: float = 0.5, desc: str = "", **policy: Any) -> Any:
        """Wait until workers run these tasks."""
        desc = desc or "waiting for tasks to be accepted"
        return self.assert_task_worker_state(self.is_accepted, ids, interval=interval, desc=desc, **policy)

    def assert_received(self, ids: Any, interval: float = 0.5, desc: str = "", **policy: Any) -> Any:
        """Wait until workers have these tasks."""
        desc = desc or "waiting for tasks to be received"
        return self.assert_task_worker_state(self.is_received, ids, interval=interval, desc=desc, **policy)

    def assert_task_worker_state(self, fun: Callable[..., Any], ids: Any, interval: float = 0.5, **policy: Any) -> Any:
        """Wait until a function of the ids is true."""
        return self.wait_for(partial(self.true_or_raise, fun, ids, timeout=interval), (Sentinel,), **policy)

    def assert_result_tasks_in_progress_or_completed(
        self, async_results: Any, interval: float = 0.5, desc: str = "", **policy: Any
    ) -> Any:
        """Wait until the tasks of these results have started."""
        desc = desc or "waiting for tasks to be started or completed"
        return self.assert_task_state_from_result(
            self.is_result_task_in_progress, async_results, interval=interval, desc=desc, **policy
        )

    assert_task_state_from_result = assert_task_worker_state

    @staticmethod
    def is_result_task_in_progress(results: Iterable[Any], **_: Any) -> bool:
        """Whether all of these have started."""
        return all(result.state in (states.STARTED, states.SUCCESS) for result in results)

    def wait_until_idle(self) -> None:
        """Drop the tasks that wait in the application's queues, and wait for the end of those that run there."""
        names, database = self.app.queues, self.app.database
        while queues.purge(database, names).deleted or any(
            status.running for status in queues.queue_status(database) if status.queue in names
        ):
            time.sleep(IDLE)


class Manager(ManagerMixin):
    """Such a helper for an application."""

    def __init__(self, app: Lavoro, **options: Any) -> None:
        self.app = app
        self._init_manager(**options)
