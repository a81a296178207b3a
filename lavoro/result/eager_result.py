"""The result of a task that ran in the calling process."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any, TypeVar

from lavoro import states
from lavoro.exceptions import TaskRevokedError
from lavoro.execution.waiting import allow_join_result, assert_will_not_block
from lavoro.result.async_result import AsyncResult
from lavoro.result.gathering import raise_of
from lavoro.result.stored import raisable
from lavoro.store.results import StoredTask

R = TypeVar("R", covariant=True)


class EagerResult(AsyncResult[R]):
    """The result of a task that ran in the calling process."""

    def __init__(
        self, id: str | uuid.UUID | None, ret_value: Any, state: str, traceback: str | None = None,
        name: str | None = None, app: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(id or "", task_name=name, app=app)  # a call that a task's own apply_async refuses has no id
        self._value, self._state, self._traceback = ret_value, state, traceback

    is_known, is_stored = True, False

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
        """The value that it returned, or its exception."""
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
                raise_of(self._tasks_before())
                value = self._value
                raise raisable(value, self.id) if isinstance(value, BaseException) else Exception(value)
        elif self._state != states.SUCCESS:
            return None  # type: ignore[return-value]
        return self._value  # type: ignore[no-any-return]

    wait = get  # type: ignore[assignment]

    def stored(self) -> dict[str, Any]:
        """Return what would be stored of the task."""
        return {**super().stored(), "status": self._state, "result": self._value, "traceback": self._traceback}

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
