"""Results: what became of a task, and waiting for it."""

from __future__ import annotations

import contextlib
import contextvars
import datetime as dt
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

from lavoro import current, serialization, states
from lavoro.context import current as current_request
from lavoro.errors import TimeoutError
from lavoro.ids import task_uuid
from lavoro.store import results
from lavoro.store.results import StoredTask

R = TypeVar("R")

_join_allowed: contextvars.ContextVar[bool] = contextvars.ContextVar("lavoro_join_allowed", default=False)
_OVER = frozenset({states.SUCCESS, states.FAILURE, states.REVOKED, states.REJECTED, states.IGNORED})


@contextlib.contextmanager
def allow_join_result() -> Iterator[None]:
    """Allow ``get()`` inside a task, for those who know that another slot is free to run what they wait for."""
    token = _join_allowed.set(True)
    try:
        yield
    finally:
        _join_allowed.reset(token)


class AsyncResult(Generic[R]):
    """A task that was sent, by its id.

    Everything is read from the database when asked for; what is final is read once::

        result = add.delay(2, 3)
        result.get(timeout=10)          # 5
        AsyncResult(result.id).state    # 'SUCCESS', in any process
    """

    def __init__(
        self, id: str | uuid.UUID, backend: object = None, task_name: str | None = None, app: Any = None, parent: Any = None
    ) -> None:
        if id is None:
            raise ValueError("AsyncResult needs a task id, not None")
        self.id = str(id)
        self.app = app if app is not None else current.get()
        self._name = task_name
        self._parent = parent
        self._final: StoredTask | None = None

    @property
    def task_id(self) -> str:
        """The task's id."""
        return self.id

    @property
    def state(self) -> str:
        """Celery's state; PENDING also for an unknown id (``exists`` tells the difference)."""
        return self._state_of(self._fetch())

    status = state

    @property
    def result(self) -> Any:
        """The return value, the exception of a failed task, or the metadata of a custom state."""
        return self._value_of(self._fetch())

    info = result

    @property
    def traceback(self) -> str | None:
        """The traceback of the last failure as text."""
        return self._of("traceback")

    @property
    def name(self) -> str | None:
        """The task's name."""
        return self._name or self._of("name")

    @property
    def args(self) -> Any:
        """The positional arguments, as a list."""
        return self._call_of(self._fetch())[0]

    @property
    def kwargs(self) -> Any:
        """The keyword arguments."""
        return self._call_of(self._fetch())[1]

    @property
    def worker(self) -> str | None:
        """The node name of the worker that ran it last."""
        return self._of("worker")

    @property
    def queue(self) -> str | None:
        """The queue it was sent to."""
        return self._of("queue")

    @property
    def retries(self) -> int | None:
        """How often it was retried."""
        return self._of("retries")

    @property
    def date_done(self) -> dt.datetime | None:
        """When it finished, aware."""
        return self._of("finished")

    @property
    def stage(self) -> str | None:
        """Where it stands: waiting, running or finished; None when unknown or expired."""
        return self._of("stage")

    @property
    def reason(self) -> str | None:
        """Why it waits again, for example that no worker knew its name."""
        return self._of("reason")

    @property
    def children(self) -> list[AsyncResult[Any]]:
        """The results of the tasks it sent."""
        found = self._of("children")
        return [AsyncResult(id, app=self.app) for id in serialization.loads(found)] if found else []

    @property
    def parent(self) -> AsyncResult[Any] | None:
        """The result of the task that sent it."""
        if self._parent is None:
            options = self._of("options")
            parent_id = serialization.loads(options).get("parent_id") if options else None
            self._parent = AsyncResult(parent_id, app=self.app) if parent_id else None
        return self._parent  # type: ignore[no-any-return]

    @property
    def ignored(self) -> bool:
        """Whether the task's result was not kept."""
        task = self._fetch()
        return task is not None and task.stage == "finished" and task.result is None

    def exists(self) -> bool:
        """Tell whether the task is known: waiting, running, or finished and not expired."""
        return self._fetch() is not None

    def ready(self) -> bool:
        """Tell whether the task is over."""
        return self.state in _OVER

    def successful(self) -> bool:
        """Tell whether it returned."""
        return self.state == states.SUCCESS

    def failed(self) -> bool:
        """Tell whether it raised."""
        return self.state == states.FAILURE

    def get(
        self,
        timeout: float | None = None,
        propagate: bool = True,
        interval: float = 0.5,
        *,
        no_ack: bool = True,
        follow_parents: bool = True,
        callback: Callable[[str, Any], Any] | None = None,
        on_message: object = None,
        on_interval: Callable[[], Any] | None = None,
        disable_sync_subtasks: bool = True,
    ) -> R:
        """Wait for the task and return its value.

        Raises the task's exception (unless ``propagate`` is false: then it is returned), this package's
        ``TimeoutError`` after ``timeout`` seconds, and ``RuntimeError`` inside a task, where waiting for another task
        can block for ever. A notification ends the wait; ``interval`` is the time between looks in case it is lost.
        """
        if disable_sync_subtasks and current_request.get() is not None and not _join_allowed.get():
            raise RuntimeError("never call result.get() within a task: link the tasks, or use allow_join_result()")
        if self._parent is not None and propagate and follow_parents:
            self._parent.maybe_throw()
        task = self._final or self._wait(timeout, interval, on_interval)
        value = self._value_of(task)
        if propagate and task.state in (states.FAILURE, states.REVOKED, states.REJECTED) and isinstance(value, BaseException):
            raise value
        return callback(self.id, value) if callback else value

    wait = get

    def forget(self) -> None:
        """Drop the stored outcome."""
        self._final = None
        with self.app.database.tx() as tx:
            results.forget(tx, task_uuid(self.id))

    def revoke(
        self,
        connection: object = None,
        terminate: bool = False,
        signal: str | None = None,
        wait: bool = False,
        timeout: float | None = None,
    ) -> None:
        """Keep the task from starting; with ``terminate`` also end it while it runs."""
        self.app.revoke([self.id], terminate=terminate, signal=signal)
        if wait:
            self.get(timeout, propagate=False)

    def maybe_throw(self, propagate: bool = True, callback: object = None) -> Any:
        """Raise the task's exception if it failed, else return its value."""
        task = self._fetch()
        value = self._value_of(task)
        if propagate and self._state_of(task) in states.PROPAGATE_STATES and isinstance(value, BaseException):
            raise value
        return value

    maybe_reraise = maybe_throw

    def then(self, callback: Callable[..., Any], on_error: object = None, weak: bool = False) -> AsyncResult[R]:
        """Call ``callback(result)`` once the task is over; waits for it."""
        self.get(propagate=False)
        callback(self)
        return self

    def _wait(self, timeout: float | None, interval: float, on_interval: Callable[[], Any] | None) -> StoredTask:
        id, deadline = task_uuid(self.id), None if timeout is None else time.monotonic() + timeout
        listener = self.app.result_listener
        event = listener.subscribe(id, timeout=min(interval, timeout if timeout is not None else interval))
        try:
            while True:
                task = self._fetch()
                if task is not None and task.state in _OVER:
                    return task
                event.wait(self._pause(interval, deadline))
                event.clear()
                if on_interval:
                    on_interval()
        finally:
            listener.unsubscribe(id, event)

    def _pause(self, interval: float, deadline: float | None) -> float:
        if deadline is None:
            return interval
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError(f"task {self.id} has no result yet ({self.stage or 'unknown or expired'})")
        return min(interval, left)

    def _fetch(self) -> StoredTask | None:
        if self._final is None:
            with self.app.database.tx() as tx:
                task = results.fetch(tx, task_uuid(self.id))
            if task is None or task.state not in _OVER:
                return task
            self._final = task
        return self._final

    def _of(self, field: str) -> Any:
        task = self._fetch()
        return getattr(task, field) if task is not None else None

    def _state_of(self, task: StoredTask | None) -> str:
        if task is None or (task.stage == "running" and task.state is None and not self.app.conf.task_track_started):
            return states.PENDING
        return task.state or (states.STARTED if task.stage == "running" else states.PENDING)

    def _value_of(self, task: StoredTask | None) -> Any:
        if task is None:
            return None
        if task.result_payload is not None and task.result is not None:
            return serialization.decode(task.result_payload, serialization.loads(task.result), self._accepted())
        if task.result is None:
            return {"hostname": task.worker} if self._state_of(task) == states.STARTED else None
        value = serialization.loads(task.result)
        failed = task.state in states.EXCEPTION_STATES or task.state == states.REJECTED
        return serialization.loads_exception(value) if failed and isinstance(value, dict) else value

    def _call_of(self, task: StoredTask | None) -> tuple[Any, Any]:
        if task is None:
            return None, None
        if task.payload is not None:
            options = serialization.loads(task.options or "{}")
            args, kwargs = serialization.decode(task.payload, options["content_type"], self._accepted())
            return args, kwargs
        return serialization.loads(task.args or "[]"), serialization.loads(task.kwargs or "{}")

    def _accepted(self) -> frozenset[str]:
        return frozenset(self.app.conf.result_accept_content or self.app.conf.accept_content)

    def __str__(self) -> str:
        return self.id

    def __repr__(self) -> str:
        return f"<AsyncResult: {self.id}>"

    def __hash__(self) -> int:
        return hash(self.id)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, str):
            return self.id == other
        return isinstance(other, AsyncResult) and self.id == other.id


class EagerResult(AsyncResult[R]):
    """The result of a task that ran in the calling process."""

    def __init__(
        self, id: str, ret_value: Any, state: str, traceback: str | None = None, name: str | None = None, app: Any = None
    ) -> None:
        super().__init__(id, task_name=name, app=app)
        self._value, self._state, self._traceback = ret_value, state, traceback

    def _fetch(self) -> StoredTask | None:
        return None

    @property
    def state(self) -> str:
        """The state it ended in."""
        return self._state

    status = state

    @property
    def result(self) -> Any:
        """What it returned or raised."""
        return self._value

    info = result

    @property
    def traceback(self) -> str | None:
        """The traceback of a failure."""
        return self._traceback

    def get(self, timeout: float | None = None, propagate: bool = True, *args: Any, **kwargs: Any) -> R:
        """Return the value, or raise what the task raised."""
        if propagate and isinstance(self._value, BaseException) and self._state in states.PROPAGATE_STATES:
            raise self._value
        return self._value  # type: ignore[no-any-return]

    wait = get

    def forget(self) -> None:
        """Nothing is stored."""

    def revoke(self, *args: Any, **kwargs: Any) -> None:
        """Say that it was revoked."""
        self._state = states.REVOKED

    def __repr__(self) -> str:
        return f"<EagerResult: {self.id}>"


