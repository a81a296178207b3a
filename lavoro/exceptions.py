"""Every exception Lavoro raises, as one tree with Celery's names.

::

    LavoroError
    ├── CeleryError             what Celery derives from its own error of this name
    │   ├── TaskPredicate           raised by a task to say what becomes of it
    │   │   ├── Retry  ├── Ignore  └── Reject
    │   ├── TaskError
    │   │   ├── MaxRetriesExceededError  ├── TimeoutError  ├── TaskRevokedError  ├── InvalidTaskError
    │   │   ├── NotRegistered  ├── QueueNotFound  ├── AlreadyRegistered  ├── IncompleteStream  └── ChordError
    │   ├── ImproperlyConfigured
    │   │   └── SchemaOutdated      the database needs `lavoro migrate`
    │   └── SecurityError
    ├── WorkerLostError  ├── TimeLimitExceeded  └── Terminated
    ├── BackendError
    │   └── BackendGetMetaError  └── BackendStoreError
    ├── NotSupported            Celery has it, and this release does not; also a NotImplementedError
    ├── CeleryCommandException  a command ends with an exit code of its own
    ├── LimitNotFound           no task of that limit has come to a worker; also a KeyError
    ├── NotUnique               another task holds the unique key of a call; also a ValueError
    ├── InvalidCanvas           a task would wait for itself; also a ValueError
    ├── ScheduleError           a schedule cannot be made, changed or run so; also a ValueError
    │   └── ScheduleNotFound        there is none of that name; also a KeyError
    ├── InspectorError          a question or an action of the inspector is wrong; also a ValueError
    │   ├── TaskNotFound            no task of that id is stored; also a KeyError
    │   ├── WrongState              the task is not in a state for that action
    │   └── ActionInterrupted       an action on many tasks has ended early, and can go on
    ├── DriverNotFound          psycopg finds no libpq; also an ImportError
    └── OperationalError        the database cannot be reached or refused
    SoftTimeLimitExceeded       stands apart: `except LavoroError` in a task must not swallow it
    WorkerShutdown, WorkerTerminate     are SystemExit
    CeleryWarning, a UserWarning, is the base of LavoroWarning, and that of
    ├── AlwaysEagerIgnored  ├── DuplicateNodenameWarning  ├── DuplicateTaskNameWarning
    └── FixupWarning  ├── NotConfigured  └── SecurityWarning
"""

from __future__ import annotations

from datetime import datetime
from types import TracebackType
from typing import Any, NoReturn

from lavoro.text.printable import described


class LavoroError(Exception):
    """Base of all errors of Lavoro."""


class CeleryError(LavoroError):
    """Base of the errors that are ``celery.exceptions.CeleryError`` in Celery: the same ``except`` catches the same."""


class TaskPredicate(CeleryError):
    """Raised inside a task to say what becomes of it."""


class Retry(TaskPredicate):
    """The task is to be retried; raised by ``Task.retry``.

    ``when`` is the countdown in seconds, the ETA, or None for "at once"; ``exc`` is the error that led here.
    """

    def __init__(
        self,
        message: str | None = None,
        exc: BaseException | str | None = None,
        when: float | datetime | None = None,
        is_eager: bool = False,
        sig: Any = None,
    ) -> None:
        self.message = message
        self.exc: BaseException | None = exc if isinstance(exc, BaseException) else None
        self.excs: str | None = described(exc) if isinstance(exc, BaseException) else exc
        self.when = when
        self.is_eager = is_eager
        self.sig = sig
        self.changes: dict[str, Any] = {}
        """The overrides of the next try: queue, options, encoded arguments."""
        self.task_id: str | None = None
        """The task that asked for it: in the run of another one it is an error like others."""
        super().__init__(message, exc, when)

    def __reduce__(self) -> Any:
        return type(self), (self.message, self.exc or self.excs, self.when, self.is_eager)

    def humanize(self) -> str:
        """Say when, for people: ``in 3s``, ``at 2030-01-01 ...``."""
        if isinstance(self.when, (int, float)):
            return f"in {self.when:g}s"
        return f"at {self.when}" if self.when else "now"

    def __str__(self) -> str:
        if self.message:
            return self.message
        return f"Retry {self.humanize()}" + (f": {self.excs}" if self.excs else "")


RetryTaskError = Retry
"""Its name in Celery 3."""


class Ignore(TaskPredicate):
    """The task's outcome is not to be stored; it counts as done."""


class Reject(TaskPredicate):
    """The task is refused: put back on its queue with ``requeue=True``, else set aside as REJECTED."""

    def __init__(self, reason: object = None, requeue: bool = False) -> None:
        self.reason = reason
        self.requeue = requeue
        super().__init__(reason, requeue)

    def __repr__(self) -> str:
        return f"reject requeue={self.requeue}: {self.reason}"


class TaskError(CeleryError):
    """An error of one task.

    ``AsyncResult.get`` raises it itself where the task's own exception would not stop at raising: one that is no
    ``Exception`` (SystemExit would end the web process) or that tells a worker what to do (Reject). That one is its
    ``__cause__``.
    """


class MaxRetriesExceededError(TaskError):
    """The task was retried as often as it may be."""

    def __init__(self, *args: object, **kwargs: Any) -> None:
        self.task_args = kwargs.pop("task_args", [])
        self.task_kwargs = kwargs.pop("task_kwargs", {})
        super().__init__(*args)


class TimeoutError(TaskError):
    """A result did not arrive in the time given to ``get``; no built-in one, which is an OSError."""


class TaskRevokedError(TaskError):
    """The task was revoked, or it expired before it could start."""


class InvalidTaskError(TaskError):
    """A stored task cannot be read: its row was damaged, or written by a newer release."""


class WorkerLostError(LavoroError):
    """The worker died while it ran the task, and the task may not start again."""


class TimeLimitExceeded(LavoroError):
    """The task ran past its hard time limit and its worker process was ended."""


class Terminated(LavoroError):
    """The task was ended while it ran, because it was revoked with ``terminate``."""


class AlreadyRegistered(TaskError):
    """A task of that name is known already."""


class IncompleteStream(TaskError):
    """Results were asked for before all of them exist."""


class ChordError(TaskError):
    """A task in the header of a chord failed."""


class NotRegistered(TaskError, KeyError):
    """No task of that name is known here."""

    def __str__(self) -> str:
        return Exception.__str__(self)


class QueueNotFound(TaskError, KeyError):
    """The queue is not among ``task_queues`` and ``task_create_missing_queues`` is off."""

    def __str__(self) -> str:
        return Exception.__str__(self)


class SoftTimeLimitExceeded(Exception):
    """Raised inside a task when its soft time limit has passed, so that it can clean up."""


class ImproperlyConfigured(CeleryError):
    """A setting is missing, contradictory or not supported."""


class SchemaOutdated(ImproperlyConfigured):
    """The database lacks Lavoro's schema, or has that of another release."""


class SecurityError(CeleryError):
    """A message was refused: its serializer is not in ``accept_content``, or its signature is wrong or missing."""


class NotSupported(LavoroError, NotImplementedError):
    """Celery has this, and this release of Lavoro does not; the text says what to do instead."""


class NotUnique(LavoroError, ValueError):
    """A task was not sent: another one holds its unique key, and the call asks for an error then."""


class LimitNotFound(LavoroError, KeyError):
    """The database has no limit of that key: no task that it counts has come to a worker yet."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class InvalidCanvas(LavoroError, ValueError):
    """Tasks could never end as they are put together: one of them would wait for itself."""


class ScheduleError(LavoroError, ValueError):
    """A schedule cannot be made, changed or run as it was asked."""


class ScheduleNotFound(ScheduleError, KeyError):
    """The database has no schedule of that name."""

    def __str__(self) -> str:
        return Exception.__str__(self)


class InspectorError(LavoroError, ValueError):
    """A question to the inspector, or an action of its, cannot be carried out as it was asked."""


class TaskNotFound(InspectorError, KeyError):
    """No task of that id is stored: it was never sent, or its result has expired."""

    def __str__(self) -> str:
        return Exception.__str__(self)


class WrongState(InspectorError):
    """The task is not in a state in which the action makes sense; ``state`` and ``stage`` say in which it is."""

    state: str = ""
    stage: str = ""


class ActionInterrupted(InspectorError):
    """An action on many tasks has ended early; ``report`` says how far it came, and its cursor goes on."""

    report: Any = None


class DriverNotFound(LavoroError, ImportError):
    """Raised when psycopg finds no libpq: `pip install 'lavoro[binary]'` brings one."""


class OperationalError(LavoroError):
    """The database cannot be reached, or it refused a statement."""

    abandoned: Any = None
    """The session that was abandoned without an answer: its statement may still take effect."""


class BackendError(LavoroError):
    """A result could not be read or stored."""


class BackendGetMetaError(BackendError):
    """The result of the task ``task_id`` could not be read."""

    def __init__(self, *args: object, task_id: str = "") -> None:
        self.task_id = task_id
        super().__init__(*args)

    def __repr__(self) -> str:
        return f"{super().__repr__()} task_id:{self.task_id}"


class BackendStoreError(BackendError):
    """The ``state`` of the task ``task_id`` could not be stored."""

    def __init__(self, *args: object, state: str = "", task_id: str = "") -> None:
        self.state = state
        self.task_id = task_id
        super().__init__(*args)

    def __repr__(self) -> str:
        return f"{super().__repr__()} state:{self.state} task_id:{self.task_id}"


class CeleryCommandException(LavoroError):
    """A command ends with a message and the exit code ``exit_code``."""

    def __init__(self, message: str, exit_code: int) -> None:
        self.message = message
        self.exit_code = exit_code
        super().__init__(message)


class WorkerShutdown(SystemExit):
    """The process of the worker is to end once its tasks are done."""


class WorkerTerminate(SystemExit):
    """The process of the worker is to end at once."""


SystemTerminate = WorkerTerminate
"""Its name in Celery 3."""


class CeleryWarning(UserWarning):
    """Base of all warnings, by Celery's name."""


class LavoroWarning(CeleryWarning):
    """Base of the warnings of Lavoro."""


class AlwaysEagerIgnored(LavoroWarning):
    """A task was sent by its name, which is never eager, while ``task_always_eager`` is on."""


class DuplicateNodenameWarning(LavoroWarning):
    """Two workers have the same node name."""


class DuplicateTaskNameWarning(LavoroWarning):
    """Two functions have the same task name."""


class FixupWarning(LavoroWarning):
    """A framework could not be adapted to."""


class NotConfigured(LavoroWarning):
    """There is no module of settings."""


class SecurityWarning(LavoroWarning):
    """Something lowers the security."""


class CPendingDeprecationWarning(PendingDeprecationWarning):
    """A name is to become deprecated."""


class CDeprecationWarning(DeprecationWarning):
    """A name is deprecated."""


def reraise(tp: type[BaseException], value: BaseException, tb: TracebackType | None = None) -> NoReturn:
    """Raise an exception with a traceback."""
    raise value.with_traceback(tb)
