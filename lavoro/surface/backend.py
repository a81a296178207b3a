"""A result backend as Celery's, which reads and writes the database."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterable, Iterator
from typing import Any

from lavoro import serialization, states
from lavoro.config.absent import mark_missing
from lavoro.exceptions import LavoroError, TaskRevokedError, TimeoutError
from lavoro.execution import context
from lavoro.protocol.ids import task_uuid
from lavoro.protocol.progress import TooLong, progress
from lavoro.result import AsyncResult, GroupResult, ResultSet, result_from_tuple
from lavoro.store import groups, results
from lavoro.store.errors import first_line
from lavoro.text.printable import described

logger = logging.getLogger("lavoro.task")


class Backend:
    """Results of an application's tasks, by the id of the task; ``app.AsyncResult(id)`` is the usual way to them."""

    READY_STATES = states.READY_STATES
    UNREADY_STATES = states.UNREADY_STATES
    EXCEPTION_STATES = states.EXCEPTION_STATES
    TimeoutError = TimeoutError
    persistent = True
    supports_native_join = True

    def __init__(self, app: Any) -> None:
        self.app = app

    def get_task_meta(self, task_id: str, cache: bool = True) -> dict[str, Any]:
        """Return all that is stored of a task: ``status``, ``result``, ``traceback``, ``children``, ``date_done``...

        An unknown task is PENDING, as a waiting one is.
        """
        found: AsyncResult[Any] = self.app.AsyncResult(task_id)
        meta = {
            "task_id": found.id, "status": found.state, "result": found.result, "traceback": found.traceback,
            "children": [child.as_tuple() for child in found.children], "date_done": found.date_done,
        }  # fmt: skip
        if self.app.conf["result_extended"]:
            names = ("name", "args", "kwargs", "worker", "retries", "queue")
            meta.update({name: getattr(found, name) for name in names})
        return meta

    def get_state(self, task_id: str) -> str:
        """Return a task's state."""
        return str(self.app.AsyncResult(task_id).state)

    get_status = get_state

    def get_result(self, task_id: str) -> Any:
        """Return what a task has returned, the exception of a failed one, or the metadata of a state of its own."""
        return self.app.AsyncResult(task_id).result

    def get_traceback(self, task_id: str) -> str | None:
        """Return the traceback of a failed task."""
        return self.app.AsyncResult(task_id).traceback  # type: ignore[no-any-return]

    def get_children(self, task_id: str) -> list[AsyncResult[Any]]:
        """Return the results of the tasks that a task has sent."""
        return self.app.AsyncResult(task_id).children  # type: ignore[no-any-return]

    def wait_for(self, task_id: str, timeout: float | None = None, interval: float = 0.5, **_: Any) -> dict[str, Any]:
        """Wait until a task is over; return what `get_task_meta` does, or raise TimeoutError."""
        self.app.AsyncResult(task_id).get(timeout, propagate=False, interval=interval)
        return self.get_task_meta(task_id)

    def iter_native(self, result: ResultSet, **options: Any) -> Iterator[tuple[str, Any]]:
        """Yield ``(id, what is stored)`` of the members of a set as they end; options are those of the set's method."""
        return result.iter_native(**options)

    def get_many(self, task_ids: Iterable[str], **options: Any) -> Iterator[tuple[str, Any]]:
        """Yield ``(id, what is stored)`` of tasks as they end; options are those of ``ResultSet.iter_native``."""
        return self.iter_native(self.app.ResultSet(map(self.app.AsyncResult, task_ids)), **options)

    # Groups

    def ensure_chords_allowed(self) -> None:
        """Do nothing: the database counts the members of chords, whatever the settings are."""

    def save_group(self, group_id: str, result: GroupResult) -> GroupResult:
        """Store which tasks a group consists of, as long as results are kept; replaces an earlier one."""
        form = serialization.dumps(result.as_tuple())
        with self.app.database.tx() as tx:
            groups.save(tx, _group_uuid(group_id), form)
        return result

    def restore_group(self, group_id: str, cache: bool = True) -> Any:
        """Return the result of a group that was saved; None if there is none."""
        with self.app.database.tx() as tx:
            form = groups.restore(tx, _group_uuid(group_id))
        return None if form is None else result_from_tuple(serialization.loads(form), self.app)

    def delete_group(self, group_id: str) -> None:
        """Drop what is saved of a group."""
        with self.app.database.tx() as tx:
            groups.delete(tx, _group_uuid(group_id))

    # Writing

    def store_result(
        self, task_id: str, result: Any, state: str, traceback: str | None = None, request: Any = None, **_: Any
    ) -> Any:
        """Store the outcome of a task, or a state of one that runs, on any worker; return the result.

        A success that is stored stays. A state that is none of the final ones, of a task that does not run, is dropped
        with a warning: the start of a task would replace it.
        """
        if state not in states.READY_STATES:
            if (context.report_by_id is None or not context.report_by_id(task_id, state, result)) and (
                why := self._report(task_id, state, result)
            ):
                name = getattr(request, "task", None)
                logger.warning("state %s of %s is dropped: %s", state, f"{name}[{task_id}]" if name else task_id, why)
            return result
        results.store(
            self.app.database, task_uuid(task_id), state=state, traceback=traceback,
            name=getattr(request, "task", None) or "", retries=getattr(request, "retries", None) or 0,
            **_encoded(result, state, self.app.conf["result_serializer"]),
        )  # fmt: skip
        return result

    def _report(self, task_id: str, state: str, meta: Any) -> str | None:
        """Store a state of a task that another process runs; return the reason why that cannot be."""
        try:
            state, text = progress(state, meta, self.app.conf["lavoro_max_progress_size"])
            with self.app.database.tx() as tx:
                return None if results.report(tx, task_uuid(task_id), state, text) else "no task of this id runs"
        except (LavoroError, TooLong) as error:
            return first_line(error)

    def mark_as_done(self, task_id: str, result: Any, request: Any = None, **_: Any) -> None:
        """Store a success."""
        self.store_result(task_id, result, states.SUCCESS, request=request)

    def mark_as_failure(
        self, task_id: str, exc: BaseException, traceback: str | None = None, request: Any = None, **_: Any
    ) -> None:
        """Store a failure."""
        self.store_result(task_id, exc, states.FAILURE, traceback, request)

    def mark_as_revoked(self, task_id: str, reason: str = "", request: Any = None, **_: Any) -> None:
        """Store that a task was revoked."""
        self.store_result(task_id, TaskRevokedError(reason), states.REVOKED, request=request)

    def mark_as_started(self, task_id: str, **meta: Any) -> None:
        """Report that a task of this process runs."""
        self.store_result(task_id, meta, states.STARTED)

    def forget(self, task_id: str) -> None:
        """Drop what is stored of a task."""
        self.app.AsyncResult(task_id).forget()

    def prepare_exception(self, exc: BaseException, serializer: object = None) -> dict[str, Any]:
        """Return an exception as it is stored."""
        return serialization.loads(serialization.dumps_exception(exc))  # type: ignore[no-any-return]

    def exception_to_python(self, exc: Any) -> Any:
        """Return the exception that was stored so."""
        return serialization.loads_exception(exc) if isinstance(exc, dict) and "exc_type" in exc else exc

    def cleanup(self) -> None:
        """Nothing is to be done: a worker drops old results."""

    def as_uri(self, include_password: bool = False) -> str:
        """Return the database's URL, without its password."""
        return self.app.connection().as_uri(include_password)  # type: ignore[no-any-return]

    def __repr__(self) -> str:
        return f"<Backend: {self.as_uri()}>"


mark_missing(Backend, "backend")


def _group_uuid(group_id: str) -> uuid.UUID:
    if not group_id:
        raise ValueError(f"group_id must not be empty. Got {group_id} instead.")
    return task_uuid(group_id)


def _encoded(result: Any, state: str, serializer: str) -> dict[str, Any]:
    if isinstance(result, BaseException):
        return {"result": serialization.dumps_exception(result)}
    if state in states.EXCEPTION_STATES:
        raise ValueError(f"the result of state {state} must be an exception, not {described(result)}")
    encoded = serialization.encode(result, serializer)
    if encoded.content_type == "application/json":
        return {"result": encoded.data}
    data = encoded.data if isinstance(encoded.data, bytes) else encoded.data.encode()
    return {"result": serialization.dumps(encoded.content_type), "result_payload": data}
