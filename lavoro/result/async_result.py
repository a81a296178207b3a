"""The result of a task: its state and value, and waiting for them."""

from __future__ import annotations

import datetime as dt
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

from lavoro import serialization, states
from lavoro.config import absent
from lavoro.exceptions import (
    IncompleteStream,
    LavoroError,
    OperationalError,
    Reject,
    TaskError,
    TaskPredicate,
    TaskRevokedError,
    TimeoutError,
)
from lavoro.execution.waiting import allow_join_result, assert_will_not_block
from lavoro.protocol.ids import task_uuid
from lavoro.protocol.lineage import Lineage
from lavoro.runtime import current_app
from lavoro.store import queues, results
from lavoro.store.results import StoredTask
from lavoro.text.commands import command
from lavoro.text.plural import counted
from lavoro.text.printable import described

R = TypeVar("R", covariant=True)

_UNKNOWN = StoredTask._make([None] * len(StoredTask._fields))


class AsyncResult(Lineage, Generic[R]):
    """A task that was sent, by its id.

    Each attribute is read from the database; a final state is read once::

        result = add.delay(2, 3)
        result.get(timeout=10)          # 5
        AsyncResult(result.id).state    # 'SUCCESS', in any process

    ``parent`` is the result of the task before it in a chain; it is None unless it is given.
    """

    TimeoutError = TimeoutError

    def __init__(
        self, id: str | uuid.UUID, backend: object = None, task_name: str | None = None, app: Any = None,
        parent: Any = None,
    ) -> None:  # fmt: skip
        if id is None:
            raise ValueError(f"AsyncResult requires valid id, not {type(id)}")
        self._id = id
        self.app = app if app is not None else current_app.get()
        self._name = task_name
        if parent is not None:
            self.parent = parent
        self._site = self.app.site
        """The site of the task: the application may serve several."""

    # Attributes of few results: ``delay_many`` need not set them for each of its many.
    parent: AsyncResult[Any] | None = None
    _ignored = False
    _final: StoredTask | None = None

    @property
    def id(self) -> str:
        """The task's id."""
        if not isinstance(self._id, str):
            self._id = str(self._id)  # here, because the text of a UUID is most of the cost of making a result
        return self._id

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
        return self._look().traceback

    @property
    def name(self) -> str | None:
        """The task's name."""
        return self._name or self._look().name

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
        return self._look().worker

    @property
    def queue(self) -> str | None:
        """The queue it was sent to."""
        return self._look().queue

    @property
    def retries(self) -> int | None:
        """How often it was retried."""
        return self._look().retries

    @property
    def date_done(self) -> dt.datetime | None:
        """When it finished, aware."""
        return self._look().finished

    @property
    def stage(self) -> str | None:
        """The stage: waiting, running or finished; None when the task is unknown or expired."""
        return self._look().stage

    @property
    def reason(self) -> str | None:
        """The reason why it waits again, for example that no worker knows its name."""
        return self._look().reason

    @property
    def children(self) -> list[AsyncResult[Any]]:
        """The results of the tasks that it sent."""
        found = self._look().children
        return [AsyncResult(id, app=self.app) for id in serialization.loads(found)] if found else []

    @property
    def ignored(self) -> bool:
        """Whether the task's result is not kept: the call says so, or the row does once the task is over."""
        if self._ignored:
            return True
        task = self._fetch()
        return task is not None and task.stage == "finished" and task.result is None

    @ignored.setter
    def ignored(self, ignored: bool) -> None:
        self._ignored = ignored

    @property
    def attempts(self) -> list[results.Attempt]:
        """The starts that did not count, oldest first: each with state, reason, worker, times and traceback."""
        with self._site.database.tx() as tx:
            return results.attempts(tx, task_uuid(self.id))

    def exists(self) -> bool:
        """Tell whether the task is known: waiting, running, or finished and not expired."""
        return self._fetch() is not None

    def ready(self) -> bool:
        """Tell whether the task is over."""
        return _is_over(self._fetch())

    def successful(self) -> bool:
        """Tell whether the task returned."""
        return self.state == states.SUCCESS

    def failed(self) -> bool:
        """Tell whether the task raised."""
        return self.state == states.FAILURE

    def get(
        self,
        timeout: float | None = None,
        propagate: bool = True,
        interval: float = 0.5,
        no_ack: bool = True,
        follow_parents: bool = True,
        callback: Callable[[str, Any], Any] | None = None,
        on_message: object = None,
        on_interval: Callable[[], Any] | None = None,
        disable_sync_subtasks: bool = True,
        EXCEPTION_STATES: object = None,
        PROPAGATE_STATES: object = None,
    ) -> R:
        """Wait for the task and return its value.

        Raises the task's exception (unless ``propagate`` is false: then it is returned), ``TaskError`` in its place if
        it is one that would end this process, this package's ``TimeoutError`` after ``timeout`` seconds, and
        ``RuntimeError`` inside a task, where waiting for another task can block for ever. The exception has its own
        class where that is imported here already, else a class made with its name.

        A notification ends the wait; ``interval`` is the time between looks in case it is lost. A database that goes
        away while it waits is waited for. A task that ignores its result gives None at once. ``follow_parents`` raises
        the error of a task before it in a chain. The last two arguments change nothing::

            result.get(timeout=10)
        """
        if self._ignored:
            return None  # type: ignore[return-value]
        if disable_sync_subtasks:
            assert_will_not_block()
        if self.parent is not None and propagate and follow_parents:
            self._raise_of_parents()
            on_interval = self._raising_of_parents(on_interval)
        task = self._final or self._wait(timeout, interval, on_interval)
        return self._unpacked(task, propagate, callback)  # type: ignore[no-any-return]

    wait = get

    def _parents(self) -> Iterator[AsyncResult[Any]]:
        node = self.parent
        while node is not None:
            yield node
            node = node.parent

    def _raise_of_parents(self) -> None:
        """Raise the error of the first task of the chain that failed: this one never starts then."""
        for parent in reversed(list(self._parents())):
            parent.maybe_throw()

    def _raising_of_parents(self, on_interval: Callable[[], Any] | None) -> Callable[[], Any]:
        def look() -> None:
            self._raise_of_parents()
            if on_interval is not None:
                on_interval()

        return look

    def forget(self) -> None:
        """Drop the stored outcome, and those of its parents."""
        self._final = None
        if self.parent is not None:
            self.parent.forget()
        with self._site.database.tx() as tx:
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
        self._site.revoke([self.id], terminate=terminate, signal=signal)
        if wait:
            self.get(timeout, propagate=False)

    def throw(self, *error: Any) -> None:
        """Raise this error."""
        raise error[0] if error else RuntimeError("No active exception to reraise")

    def maybe_throw(self, propagate: bool = True, callback: Callable[[str, Any], Any] | None = None) -> Any:
        """Raise the task's exception if it failed, else return its value; does not wait."""
        return self._unpacked(self._fetch(), propagate, callback)

    maybe_reraise = maybe_throw

    def _unpacked(self, task: StoredTask | None, propagate: bool, callback: Callable[[str, Any], Any] | None) -> Any:
        value = self._value_of(task)
        if propagate and self._state_of(task) in states.PROPAGATE_STATES and isinstance(value, BaseException):
            raise raisable(value, self.id)
        if callback is not None:
            callback(self.id, value)
        return value

    def then(
        self, callback: Callable[..., Any], on_error: Callable[..., Any] | None = None, weak: bool = False
    ) -> AsyncResult[R]:
        """Wait for the task, and call ``callback(result)``; if it failed, also ``on_error(exception)``."""
        value = self.get(propagate=False)
        callback(self)
        if on_error is not None and isinstance(value, BaseException) and self.state in states.PROPAGATE_STATES:
            on_error(value)
        return self

    # The tasks that it sent

    def iterdeps(self, intermediate: bool = False) -> Iterator[tuple[AsyncResult[Any] | None, AsyncResult[Any]]]:
        """Yield this result and those of all tasks that it led to, each behind the one that sent it.

        Raises ``IncompleteStream`` at one that is not over, unless ``intermediate`` is true.
        """
        left: deque[tuple[AsyncResult[Any] | None, AsyncResult[Any]]] = deque([(None, self)])
        while left:
            parent, node = left.popleft()
            yield parent, node
            if node.ready():
                left.extend((node, child) for child in node.children)
            elif not intermediate:
                raise IncompleteStream

    def collect(self, intermediate: bool = False, **options: Any) -> Iterator[tuple[AsyncResult[Any], Any]]:
        """Yield ``(result, value)`` of this task and of all that it led to; options are those of ``get``."""
        for _, node in self.iterdeps(intermediate):
            yield node, node.get(**options)

    def get_leaf(self) -> Any:
        """Return the value of the last task that it led to."""
        value = None
        for _, node in self.iterdeps():
            value = node.get()
        return value

    # Waiting and looking

    def _wait(self, timeout: float | None, interval: float, on_interval: Callable[[], Any] | None) -> StoredTask:
        deadline = None if timeout is None else time.monotonic() + timeout
        id, listener = task_uuid(self.id), self._site.result_listener
        first = listener.listening
        if not first and (task := self._fetch()) is not None and _is_over(task):
            return task  # without a listening connection
        event = listener.subscribe(id, timeout=interval if timeout is None else min(interval, timeout))
        try:
            while True:
                task, first = self._fetch() if first else self._fetch_patiently(deadline), False
                if task is not None and _is_over(task):
                    return task
                event.wait(self._pause(task, interval, deadline))
                event.clear()
                if on_interval:
                    on_interval()
        finally:
            listener.unsubscribe(id, event)

    def _pause(self, task: StoredTask | None, interval: float, deadline: float | None) -> float:
        if deadline is None:
            return interval
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError(f"task {self._described(task)}")
        return min(interval, left)

    def _described(self, task: StoredTask | None) -> str:
        """Describe the stage of the task, and the reason why it has not started."""
        name = f"{self._name or (task and task.name)}[{self.id}]" if self._name or task else self.id
        if task is None:
            return (
                f"{name} is not in the database: a transaction that it was sent in (connection= or app.transaction())"
                " is not committed yet or was rolled back, or it is unknown, forgotten or expired"
            )
        if task.stage != "waiting":
            return f"{name} has no result yet: it is running, on {task.worker or 'a worker that is gone'}"
        why = f" ({task.reason})" if task.reason else ""
        return f"{name} has no result yet: it is waiting{why} in the queue {task.queue!r}{self._served(task.queue)}"

    def _served(self, queue: str) -> str:
        try:
            nodes, paused = queues.workers_of(self._site.database, queue)
        except LavoroError:  # an outage, or no right to read that
            return ""
        if paused:
            return ", which is paused"
        if not nodes:
            start = f"start one on this database ({self._site.database_shown}): {command('worker', '-Q', queue)}"
            return f", and no live worker serves that: {start}"
        return f", which {counted(len(nodes), 'live worker serves', 'live workers serve')}: {', '.join(nodes)}"

    def _fetch_patiently(self, deadline: float | None) -> StoredTask | None:
        try:
            return self._fetch()
        except OperationalError:
            if deadline is not None and time.monotonic() >= deadline:
                raise
            return None

    def _fetch(self) -> StoredTask | None:
        if self._final is not None:
            return self._final
        with self._site.database.tx() as tx:
            task = results.fetch(tx, task_uuid(self.id))
        if task is not None and task.stage == "finished":
            self._final = task
        return task

    def _look(self) -> StoredTask:
        """Read the row of the task; all columns of an unknown task are None."""
        return self._fetch() or _UNKNOWN

    def _state_of(self, task: StoredTask | None) -> str:
        if task is None:
            return states.PENDING
        if task.stage != "running" or task.state is not None:
            return task.state or states.PENDING
        return states.STARTED if self._tracks_start(task.name) else states.PENDING

    def _tracks_start(self, name: str) -> bool:
        known = self.app.tasks.get(name)
        return bool(self._site.conf["task_track_started"] if known is None else known.track_started)

    def _value_of(self, task: StoredTask | None) -> Any:
        if task is None:
            return None
        if task.result is None:
            return {"pid": task.pid, "hostname": task.worker} if self._state_of(task) == states.STARTED else None
        if task.result_payload is not None:
            return serialization.decode(task.result_payload, serialization.loads(task.result), self._accepted())
        value = serialization.loads(task.result)
        failed = task.state in states.EXCEPTION_STATES
        return serialization.loads_exception(value) if failed and _is_exception(value) else value

    def _call_of(self, task: StoredTask | None) -> tuple[Any, Any]:
        if task is None:
            return None, None
        if task.payload is not None:
            options = serialization.loads(task.options or "{}")
            args, kwargs = serialization.decode(task.payload, options["content_type"], self._accepted())
            return args, kwargs
        return serialization.loads(task.args or "[]"), serialization.loads(task.kwargs or "{}")

    def _accepted(self) -> frozenset[str]:
        conf = self._site.conf
        return frozenset(conf.result_accept_content or conf.accept_content)

    def as_tuple(self) -> tuple[Any, None]:
        """Return the form that ``result_from_tuple`` and JSON know: ``((id, parent's tuple), None)``."""
        return (self.id, self.parent.as_tuple() if self.parent is not None else None), None

    def as_list(self) -> list[str]:
        """Return the ids of the task and of its parents."""
        return [self.id, *(parent.id for parent in self._parents())]

    def __json__(self) -> Any:
        return self.as_tuple()

    def __reduce__(self) -> Any:
        return type(self), (self.id, None, self._name, None, self.parent)

    def __copy__(self) -> AsyncResult[R]:
        copy = type(self).__new__(type(self))
        vars(copy).update(vars(self))
        return copy

    def __deepcopy__(self, memo: object) -> AsyncResult[R]:
        return self.__copy__()

    def __str__(self) -> str:
        return self.id

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.id}>"

    def __hash__(self) -> int:
        return hash(self.id)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, AsyncResult):
            return self.id == other.id
        return self.id == other if isinstance(other, str) else NotImplemented


absent.mark_missing(AsyncResult, "result")


class EagerResult(AsyncResult[R]):
    """The result of a task that ran in the calling process."""

    def __init__(
        self, id: str | uuid.UUID | None, ret_value: Any, state: str, traceback: str | None = None,
        name: str | None = None, app: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(id or "", task_name=name, app=app)  # a call that a task's own apply_async refuses has no id
        self._value, self._state, self._traceback = ret_value, state, traceback

    def _fetch(self) -> StoredTask | None:
        return None

    def ready(self) -> bool:
        """Tell that it is over."""
        return True

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

    def get(  # type: ignore[override]
        self, timeout: float | None = None, propagate: bool = True, disable_sync_subtasks: bool = True, **_: Any
    ) -> R:
        """Return the value, or raise what the task raised.

        Inside a task it is forbidden as in a worker, but not where the outermost one was run by ``apply``. A task that
        neither returned nor failed (``Ignore``, ``Reject``) gives None.
        """
        if disable_sync_subtasks:
            assert_will_not_block()
        if self._state in states.PROPAGATE_STATES:
            if propagate:
                value = self._value
                raise raisable(value, self.id) if isinstance(value, BaseException) else Exception(value)
        elif self._state != states.SUCCESS:
            return None  # type: ignore[return-value]
        return self._value  # type: ignore[no-any-return]

    wait = get  # type: ignore[assignment]

    def then(
        self, callback: Callable[..., Any], on_error: Callable[..., Any] | None = None, weak: bool = False
    ) -> AsyncResult[R]:
        """Call ``callback(result)`` now; if the task failed, also ``on_error(exception)``."""
        with allow_join_result():
            return super().then(callback, on_error)

    def maybe_throw(self, propagate: bool = True, callback: object = None) -> Any:
        """Raise the task's exception if it failed, else return its value."""
        return self.get(propagate=propagate, disable_sync_subtasks=False)

    maybe_reraise = maybe_throw

    def forget(self) -> None:
        """Nothing is stored."""

    def revoke(self, *args: Any, **kwargs: Any) -> None:
        """Say that it was revoked; its value is gone."""
        self._state, self._value, self._traceback = states.REVOKED, TaskRevokedError("revoked"), None

    supports_native_join = False

    def __reduce__(self) -> Any:
        return type(self), (self.id, self._value, self._state, self._traceback, self._name)


def raisable(error: BaseException, id: str) -> Exception:
    """Return what ``get`` raises: the task's exception, or a ``TaskError`` around one that would not stop there.

    SystemExit would end a web process because of what a row says; a Retry would start the task that waits again.
    """
    if isinstance(error, Exception) and (isinstance(error, Reject) or not isinstance(error, TaskPredicate)):
        return error
    wrapped = TaskError(f"task {id} ended with {described(error)}")
    wrapped.__cause__ = error
    return wrapped


def _is_exception(value: Any) -> bool:
    return isinstance(value, dict) and "exc_type" in value


def _is_over(task: StoredTask | None) -> bool:
    """Tell whether a task has ended, or has set a final state itself."""
    return task is not None and (task.stage == "finished" or task.state in states.READY_STATES)


def result_from_tuple(form: Any, app: Any = None) -> AsyncResult[Any]:
    """Return the result that ``as_tuple`` has described; an ``AsyncResult`` stays as it is."""
    if isinstance(form, AsyncResult):
        return form
    known, children = form
    if children:
        absent.missing("lavoro.group")
    id, parent = known if isinstance(known, (list, tuple)) else (known, None)
    return AsyncResult(id, app=app, parent=result_from_tuple(parent, app) if parent else None)
