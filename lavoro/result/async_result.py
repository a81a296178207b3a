"""The result of a task that was sent, by its id."""

from __future__ import annotations

import datetime as dt
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, TypeVar

from lavoro import states
from lavoro.exceptions import IncompleteStream, TimeoutError
from lavoro.execution.waiting import assert_will_not_block
from lavoro.protocol.ids import task_uuid
from lavoro.protocol.lineage import Lineage, importable, leaves, tuple_of
from lavoro.result.gathering import forget, learn, raise_of
from lavoro.result.graph import DependencyGraph, GraphFormatter, graph_of
from lavoro.result.stored import UNKNOWN, Known, call_of, is_over, raisable, state_of, value_of
from lavoro.result.tuples import results_of
from lavoro.result.waiting import Waiting
from lavoro.runtime import current_app
from lavoro.store import results
from lavoro.store.results import Ended, StoredTask
from lavoro.store.tx import Tx

R = TypeVar("R", covariant=True)


class AsyncResult(Lineage, Generic[R]):
    """A task that was sent, by its id.

    Each attribute is read from the database; a final state is read once::

        result = add.delay(2, 3)
        result.get(timeout=10)          # 5
        AsyncResult(result.id).state    # 'SUCCESS', in any process

    ``parent`` is the result of the task before it in a chain; it is None unless it is given.
    """

    TimeoutError = TimeoutError
    _app: Any = None
    """The application of results of this class, where none is given."""

    def __init__(
        self, id: str | uuid.UUID, backend: object = None, task_name: str | None = None, app: Any = None,
        parent: Any = None,
    ) -> None:  # fmt: skip
        if id is None:
            raise ValueError(f"AsyncResult requires valid id, not {type(id)}")
        self._id = id
        self.app = app if app is not None else self._app or current_app.get()
        self._name = task_name
        if parent is not None:
            self.parent = parent
        self.site = self.app.site
        """The site of the task: the application may serve several."""

    # Attributes of few results: ``delay_many`` need not set them for each of its many.
    parent: AsyncResult[Any] | None = None
    _ignored = False
    _ended: Ended | None = None
    """The outcome, once the task is over."""
    _final: StoredTask | None = None
    """The whole row, once the task is over."""
    created = True
    """Whether the call has made the task; False where a unique task of the same key existed."""
    follows_success = False
    """Whether the task starts only after those of its parents have succeeded: after its success none is looked at."""
    supports_native_join = True

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
        return state_of(self._known(), self.app, self.site)

    status = state

    @property
    def result(self) -> Any:
        """The return value, the exception of a failed task, or the metadata of a custom state."""
        return value_of(self._known(), self.app, self.site)

    info = result

    @property
    def traceback(self) -> str | None:
        """The traceback of the last failure as text."""
        report = self._report()
        return report and report.traceback

    @property
    def name(self) -> str | None:
        """The task's name."""
        return self._name or self._look().name

    @property
    def args(self) -> Any:
        """The positional arguments, as a list."""
        return call_of(self._fetch(), self.site)[0]

    @property
    def kwargs(self) -> Any:
        """The keyword arguments."""
        return call_of(self._fetch(), self.site)[1]

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
        report = self._report()
        return report and report.finished

    @property
    def stage(self) -> str | None:
        """The stage: held, waiting, running or finished; None when the task is unknown or expired."""
        return self._look().stage

    @property
    def reason(self) -> str | None:
        """The reason why it waits: that no worker knows its name, or how many tasks it is held for."""
        return self._look().reason

    @property
    def children(self) -> list[Any]:
        """The results of the tasks that it sent; those of a group are one ``GroupResult``."""
        report = self._report()
        return results_of(report and report.children, self.app, self.site)

    @property
    def ignored(self) -> bool:
        """Whether the task's result is not kept: the call says so, or the row does once the task is over."""
        if self._ignored:
            return True
        if self._ended is not None:
            return self._ended.result is None
        task = self._fetch()
        return task is not None and task.stage == "finished" and task.result is None

    @ignored.setter
    def ignored(self, ignored: bool) -> None:
        self._ignored = ignored

    @property
    def attempts(self) -> list[results.Attempt]:
        """The starts that did not count, oldest first: each with state, reason, worker, times and traceback."""
        with self.site.database.tx() as tx:
            return results.attempts(tx, self.row_id)

    def exists(self) -> bool:
        """Tell whether the task is known: held, waiting, running, or finished and not expired."""
        return self._fetch() is not None

    def ready(self) -> bool:
        """Tell whether the task is over."""
        return is_over(self._known())

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
        on_message: Callable[[dict[str, Any]], object] | None = None,
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
        the error of a task before it in a chain. ``on_message`` is called with what is stored: with each state of the
        task's own that a look has found, then with the outcome. The last two arguments change nothing::

            result.get(timeout=10)
        """
        if self._ignored:
            return None  # type: ignore[return-value]
        if disable_sync_subtasks:
            assert_will_not_block()
        follow = self.parent is not None and propagate and follow_parents
        task: Known | None = self._ended or self._final
        if task is None:
            deadline = None if timeout is None else time.monotonic() + timeout
            look = self._fetch if on_message is None else self._telling(on_message)
            waiting = Waiting(self.site, self.id, self._name, look, self._fetch_outcome, deadline, self.parent)
            try:
                task = waiting.wait(interval, self._raising_of_parents(on_interval) if follow else on_interval)
            except TimeoutError:
                if follow:
                    raise_of(self._tasks_before())
                raise
        if on_message is not None:
            on_message(self.stored())
        if follow and not (self.follows_success and state_of(task, self.app, self.site) == states.SUCCESS):
            raise_of(self._tasks_before())
        return self._unpacked(task, propagate, callback)  # type: ignore[no-any-return]

    wait = get

    def _parents(self) -> Iterator[AsyncResult[Any]]:
        node = self.parent
        while node is not None:
            yield node
            node = node.parent

    def _tasks_before(self) -> list[AsyncResult[Any]]:
        """Return the tasks of the parents, the first ones first."""
        parents = [each for parent in self._parents() for each in reversed(list(leaves([parent])))]
        return [each for each in reversed(parents) if isinstance(each, AsyncResult)]

    def _raising_of_parents(self, on_interval: Callable[[], Any] | None) -> Callable[[], Any]:
        """Return a function that raises the error of the first task of the chain that failed: this one never starts.

        It is called while this task is not over. A look at thousands of members would cost more than the wait.
        """
        left: list[AsyncResult[Any]] | None = None

        def look() -> None:
            nonlocal left
            left = raise_of(self._tasks_before() if left is None else left)
            if on_interval is not None:
                on_interval()

        return look

    def _telling(self, on_message: Callable[[dict[str, Any]], object]) -> Callable[[], StoredTask | None]:
        """Return a look at the row that tells of each new state of the task's own."""
        told: tuple[str | None, str | None] = None, None

        def look() -> StoredTask | None:
            nonlocal told
            task = self._fetch()
            if task is not None and not is_over(task) and (state := (task.state, task.result)) != told:
                told = state
                if task.state is not None:
                    on_message(self._meta(task))
            return task

        return look

    def stored(self) -> dict[str, Any]:
        """Return what is stored of the task: ``status``, ``result``, ``traceback``, ``children`` and ``date_done``."""
        return self._meta(self._report())

    def _meta(self, task: StoredTask | Ended | None) -> dict[str, Any]:
        return {
            "task_id": self.id, "status": state_of(task, self.app, self.site),
            "result": value_of(task, self.app, self.site), "traceback": task and task.traceback,
            "children": results_of(task and task.children, self.app, self.site), "date_done": task and task.finished,
        }  # fmt: skip

    def forget(self) -> None:
        """Drop the stored outcome, and those of its parents."""
        forget([self, *self._tasks_before()])

    def revoke(
        self,
        connection: object = None,
        terminate: bool = False,
        signal: str | None = None,
        wait: bool = False,
        timeout: float | None = None,
    ) -> None:
        """Keep the task from starting; with ``terminate`` also end it while it runs."""
        self.site.revoke([self.id], terminate=terminate, signal=signal)
        if wait:
            self.get(timeout, propagate=False)

    def revoke_by_stamped_headers(
        self, headers: Mapping[str, Any], connection: object = None, terminate: bool = False,
        signal: str | None = None, wait: bool = False, timeout: float | None = None,
    ) -> None:  # fmt: skip
        """Keep all tasks with one of these stamps from starting, whatever their ids; see `Control`."""
        self.site.revoke_stamped(headers, terminate=terminate, signal=signal)

    def throw(self, *error: Any) -> None:
        """Raise this error."""
        raise error[0] if error else RuntimeError("No active exception to reraise")

    def maybe_throw(self, propagate: bool = True, callback: Callable[[str, Any], Any] | None = None) -> Any:
        """Raise the task's exception if it failed, else return its value; does not wait."""
        return self._unpacked(self._known(), propagate, callback)

    maybe_reraise = maybe_throw

    def _unpacked(self, task: Known | None, propagate: bool, callback: Callable[[str, Any], Any] | None) -> Any:
        value, state = value_of(task, self.app, self.site), state_of(task, self.app, self.site)
        if propagate and state in states.PROPAGATE_STATES and isinstance(value, BaseException):
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

    def iterdeps(self, intermediate: bool = False) -> Iterator[tuple[Any, Any]]:
        """Yield this result and those of all tasks that it led to, each behind the one that sent it.

        Raises ``IncompleteStream`` at one that is not over, unless ``intermediate`` is true.
        """
        left: deque[tuple[Any, Any]] = deque([(None, self)])
        while left:
            parent, node = left.popleft()
            yield parent, node
            if node.ready():
                children = node.children
                learn(leaves(children))  # in few statements, where reading one by one would take one each
                left.extend((node, child) for child in children)
            elif not intermediate:
                raise IncompleteStream

    def collect(self, intermediate: bool = False, **options: Any) -> Iterator[tuple[Any, Any]]:
        """Yield ``(result, value)`` of this task and of all that it led to; options are those of ``get``."""
        for _, node in self.iterdeps(intermediate):
            yield node, node.get(**options)

    def get_leaf(self) -> Any:
        """Return the value of the last task that it led to."""
        value = None
        for _, node in self.iterdeps():
            value = node.get()
        return value

    def build_graph(self, intermediate: bool = False, formatter: GraphFormatter | None = None) -> DependencyGraph:
        """Return the graph of this task and of all that it led to; raises ``IncompleteStream`` as ``iterdeps`` does."""
        return graph_of(self.iterdeps(intermediate), formatter or GraphFormatter(root=self.id, shape="oval"))

    @property
    def graph(self) -> DependencyGraph:
        """The graph of this task and of all that it led to, once all is over."""
        return self.build_graph()

    # The row of the task

    @property
    def row_id(self) -> uuid.UUID:
        """The UUID under which the task is stored."""
        return task_uuid(self._id)

    @property
    def is_known(self) -> bool:
        """Whether the outcome is known here: reading it costs nothing."""
        return (self._ended or self._final) is not None

    @property
    def is_awaited(self) -> bool:
        """Whether ``get`` has to wait for the task, or at least to look."""
        return not (self._ignored or self.is_known)

    is_stored = True
    """Whether the task is one in a database."""

    def unlearn(self) -> None:
        """Drop the outcome that is known here."""
        self._final = self._ended = None

    def learn(self, ended: Ended) -> None:
        """Take in the outcome of the task, which was read with those of others."""
        if ended.finished is not None:
            self._ended = ended

    def _fetch(self) -> StoredTask | None:
        if self._final is not None:
            return self._final
        with self.site.database.tx() as tx:
            task = results.fetch(tx, self.row_id)
        if task is not None and task.stage == "finished":
            self._final = task
        return task

    def _fetch_outcome(self, tx: Tx) -> Ended | None:
        self._ended = results.fetch_outcome(tx, self.row_id)
        return self._ended

    def _known(self) -> Known | None:
        """Return the outcome if it was read, else read the row."""
        return self._ended or self._fetch()

    def _report(self) -> StoredTask | Ended | None:
        """Return the outcome with all that is told of it, else read the row."""
        return self._ended or self._fetch()

    def _look(self) -> StoredTask:
        """Read the row of the task; all columns of an unknown task are None."""
        return self._fetch() or UNKNOWN

    def as_tuple(self) -> tuple[Any, None]:
        """Return the form that ``result_from_tuple`` and JSON know: ``((id, parent's tuple), None)``."""
        return tuple_of(self)

    def as_list(self) -> list[str]:
        """Return the ids of the task and of its parents."""
        return [self.id, *(parent.id for parent in self._parents())]

    def __json__(self) -> Any:
        return self.as_tuple()

    def __reduce__(self) -> Any:
        return importable(type(self)), (self.id, None, self._name, None, self.parent)

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
