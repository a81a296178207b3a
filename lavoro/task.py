"""Tasks: the decorated function, how it is called, and what it can do while it runs."""

from __future__ import annotations

import datetime as dt
import functools
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Generic, ParamSpec, TypeVar

from lavoro import serialization
from lavoro.arguments import Arguments
from lavoro.context import Context, current, request_of
from lavoro.errors import Ignore, MaxRetriesExceededError, Reject, Retry
from lavoro.result import AsyncResult, EagerResult
from lavoro.retry import autoretry_options

P = ParamSpec("P")
R = TypeVar("R")

HANDLERS = ("before_start", "on_success", "on_failure", "on_retry", "after_return")
_OUTSIDE = Context()


class FromSettings:
    """An attribute of tasks that a setting decides until the task says otherwise; read late, as all settings are."""

    def __init__(self, setting: str) -> None:
        self.setting = setting

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, task: Any, owner: type | None = None) -> Any:
        return self if task is None or task.app is None else task.app.conf[self.setting]


def from_settings(setting: str) -> Any:
    """Return a ``FromSettings``, typed as what it yields."""
    return FromSettings(setting)


class Task(Generic[P, R]):
    """A function that can be sent to a worker; made by ``@app.task``, subclassed for a behaviour of one's own.

    Options of the decorator become attributes. The names and defaults are Celery's::

        @app.task(bind=True, autoretry_for=(IOError,), retry_backoff=True, max_retries=5)
        def fetch(self, url: str) -> int: ...

        fetch.delay("https://example.org").get(timeout=10)
    """

    name: str
    app: Any = None
    abstract: ClassVar[bool] = True

    max_retries: int | None = 3
    default_retry_delay: float = 180
    """Seconds before a retry for which no time is given."""
    autoretry_for: tuple[type[BaseException], ...] = ()
    dont_autoretry_for: tuple[type[BaseException], ...] = ()
    retry_kwargs: Mapping[str, Any] | None = None
    retry_backoff: bool | float = False
    retry_backoff_max: float = 600
    retry_jitter: bool = True

    queue: str | None = None
    routing_key: str | None = None
    exchange: str | None = None
    priority: int | None = from_settings("task_default_priority")
    expires: float | dt.datetime | None = None
    time_limit: float | None = from_settings("task_time_limit")
    """Seconds after which the process that runs the task is ended."""
    soft_time_limit: float | None = from_settings("task_soft_time_limit")
    """Seconds after which ``SoftTimeLimitExceeded`` is raised in the task."""
    rate_limit: str | float | None = from_settings("task_default_rate_limit")
    serializer: str = from_settings("task_serializer")
    result_serializer: str = from_settings("result_serializer")
    acks_late: bool = from_settings("task_acks_late")
    """False: the task may start only once, even if its worker is lost."""
    reject_on_worker_lost: bool | None = from_settings("task_reject_on_worker_lost")
    acks_on_failure_or_timeout: bool = from_settings("task_acks_on_failure_or_timeout")
    track_started: bool = from_settings("task_track_started")
    ignore_result: bool = from_settings("task_ignore_result")
    store_errors_even_if_ignored: bool = from_settings("task_store_errors_even_if_ignored")
    throws: tuple[type[BaseException], ...] = ()
    """Errors that are expected: they are logged without traceback, the task fails all the same."""
    typing: bool = True
    """Whether calls are checked against the function's signature."""
    send_events: bool = True
    trail: bool = True

    entry: Callable[..., Any]
    """What the worker calls: ``run``, or ``__call__`` where a subclass has its own."""
    handlers: frozenset[str] = frozenset()
    """The names of the handlers that a subclass has written."""
    before_start_overridden: bool = False
    bound: bool = False
    __arguments__: Arguments | None = None

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """Do the work; the decorated function takes this place."""
        raise NotImplementedError(f"task {self.name} must define run")

    def bind(self, app: Any) -> None:
        """Make the task one of this application."""
        self.app = app
        cls = type(self)
        self.handlers = frozenset(name for name in HANDLERS if getattr(cls, name) is not getattr(Task, name))
        self.before_start_overridden = "before_start" in self.handlers
        if self.autoretry_for and not hasattr(self, "_run_once"):
            self._run_once = self.run
            self.run = _retrying(self)  # type: ignore[method-assign]
        self.entry = self.__call__ if cls.__call__ is not Task.__call__ else self.run
        self.throws = tuple(self.throws) if isinstance(self.throws, (tuple, list)) else (self.throws,)
        self.on_bound(app)

    def settle(self) -> None:
        """Read now what the settings say, for the worker, where they no longer change and each microsecond counts."""
        for cls in type(self).__mro__:
            for name, value in vars(cls).items():
                if isinstance(value, FromSettings) and getattr(type(self), name) is value:
                    setattr(self, name, getattr(self, name))

    def on_bound(self, app: Any) -> None:
        """Called when the task has been bound to an application."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the function here and now."""
        request = request_of(self.name)
        if request is not None and request.job is not None and not request.get("entered"):
            request.update(entered=True)  # a __call__ of a subclass got here, in the worker
            return self.run(*args, **kwargs)  # type: ignore[no-any-return]
        outer = current.get()
        token = current.set(Context(task=self.name, args=args, kwargs=kwargs, outer=outer))
        try:
            return self.run(*args, **kwargs)  # type: ignore[no-any-return]
        finally:
            current.reset(token)

    # Calling

    def delay(self, *args: P.args, **kwargs: P.kwargs) -> AsyncResult[R]:
        """Send the task with these arguments; return its result to be."""
        return self.apply_async(args, kwargs)

    def apply_async(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        task_id: str | None = None,
        producer: object = None,
        link: Any = None,
        link_error: Any = None,
        shadow: str | None = None,
        **options: Any,
    ) -> AsyncResult[R]:
        """Send the task with options.

        ``countdown`` (seconds) or ``eta`` (aware, or naive UTC) say when; ``expires`` (seconds or time) until when;
        ``queue``, ``priority`` (higher first), ``headers``, ``time_limit``, ``soft_time_limit``, ``ignore_result``,
        ``serializer`` how. ``connection`` is a SQLAlchemy session or connection, or a psycopg connection, whose
        transaction the task joins. Unknown options become ``request.properties``.

        Raises ``TypeError`` or ``ValueError`` if the arguments do not fit the function or cannot be encoded, and
        ``OperationalError`` if the database cannot be reached; nothing is stored then.
        """
        args = () if args is None else args
        kwargs = {} if kwargs is None else kwargs
        _check_forms(args, kwargs)
        if self.typing and self.__arguments__ is not None:
            self.__arguments__.check(args, kwargs)
        if link is not None or link_error is not None:
            options.update(link=link, link_error=link_error)
        if shadow is not None:
            options["shadow"] = shadow
        if self.app.conf.task_always_eager:
            return self.apply(args, kwargs, task_id=task_id, through_serializer=True, **options)
        return self.app.send(self, self.name, args, kwargs, task_id, options)  # type: ignore[no-any-return]

    def delay_many(
        self, calls: Iterable[Sequence[Any] | Mapping[str, Any]], *, atomic: bool = False, **options: Any
    ) -> list[AsyncResult[R]]:
        """Send the task many times in few statements; return the results in order.

        Each call is a sequence of positional arguments or a mapping of keyword arguments. Options are those of
        ``apply_async`` and hold for all. With ``atomic`` either all are stored or none, else batch by batch
        (setting ``lavoro_batch``)::

            resize.delay_many([(photo, 200), (photo, 800)])
            greet.delay_many({"name": name} for name in names)
        """
        return self.app.send_many(self, calls, atomic=atomic, options=options)  # type: ignore[no-any-return]

    def apply(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        *,
        task_id: str | None = None,
        throw: bool | None = None,
        retries: int = 0,
        through_serializer: bool = False,
        **options: Any,
    ) -> EagerResult[R]:
        """Run the task here, the way a worker would: with request, retries (at once), handlers and signals.

        ``throw`` (default: setting ``task_eager_propagates``) raises what the task raises.
        """
        return self.app.run_eagerly(  # type: ignore[no-any-return]
            self, args or (), kwargs or {}, task_id=task_id, throw=throw, retries=retries,
            through_serializer=through_serializer, options=options,
        )  # fmt: skip

    def AsyncResult(self, task_id: str, **kwargs: Any) -> AsyncResult[R]:  # noqa: N802 (Celery's name)
        """Return the result of a call of this task."""
        return AsyncResult(task_id, app=self.app, task_name=self.name, **kwargs)

    # While it runs

    @property
    def request(self) -> Context:
        """What this run of the task knows of itself; outside of a run, a request without an id."""
        return request_of(self.name) or _OUTSIDE

    def retry(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        exc: BaseException | None = None,
        throw: bool = True,
        eta: dt.datetime | None = None,
        countdown: float | None = None,
        max_retries: int | None = None,
        **options: Any,
    ) -> Retry:
        """End this run and have the task tried again: ``raise self.retry(exc=error, countdown=5)``.

        The default countdown is ``default_retry_delay`` seconds. After ``max_retries`` retries the error is raised
        instead: ``exc``, else the one being handled, else ``MaxRetriesExceededError``. ``throw=False`` returns the
        ``Retry`` and lets the run end by itself.
        """
        request = self.request
        if request.called_directly:
            raise exc or sys.exc_info()[1] or RuntimeError(f"{self.name}.retry() outside of a worker")
        limit = self.max_retries if max_retries is None else max_retries
        if limit is not None and request.retries >= limit:
            raise self._out_of_retries(exc, request, args, kwargs)
        when = eta if eta is not None else self.default_retry_delay if countdown is None else countdown
        retry = Retry(exc=exc or sys.exc_info()[1], when=when, is_eager=request.is_eager)
        retry.changes = self._changes(request, args, kwargs, options)
        if throw:
            raise retry
        request.update(retry_pending=retry)
        return retry

    def _out_of_retries(
        self, exc: BaseException | None, request: Context, args: Sequence[Any] | None, kwargs: Mapping[str, Any] | None
    ) -> BaseException:
        error = exc or sys.exc_info()[1]
        return error or MaxRetriesExceededError(
            f"can't retry {self.name}[{request.id}] args:{request.args} kwargs:{request.kwargs}",
            task_args=request.args if args is None else args,
            task_kwargs=request.kwargs if kwargs is None else kwargs,
        )

    def _changes(
        self,
        request: Context,
        args: Sequence[Any] | None,
        kwargs: Mapping[str, Any] | None,
        options: dict[str, Any],
    ) -> dict[str, Any]:
        changes: dict[str, Any] = {"queue": options.pop("queue", None), "options": options}
        if args is not None or kwargs is not None:
            changes["args"] = serialization.dumps(list(request.args if args is None else args))
            changes["kwargs"] = serialization.dumps(dict(request.kwargs if kwargs is None else kwargs))
        return changes

    def update_state(self, task_id: str | None = None, state: str | None = None, meta: Any = None, **_: Any) -> None:
        """Store a state of one's own with metadata while the task runs: ``AsyncResult.state`` and ``.info`` show it.

        ::

            self.update_state(state="PROGRESS", meta={"done": 3, "total": 10})
        """
        request = self.request
        if request.report is not None:
            request.report(request.job, state or "PROGRESS", meta)

    # Handlers of subclasses

    def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
        """Called in the worker before the task runs; an error here fails the task."""

    def on_success(self, retval: Any, task_id: str, args: Any, kwargs: Any) -> None:
        """Called when the task has returned."""

    def on_failure(self, exc: BaseException, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        """Called when the task has failed."""

    def on_retry(self, exc: BaseException, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        """Called when the task is to be tried again."""

    def after_return(self, status: str, retval: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        """Called after the others, when the task has returned or failed."""

    def __repr__(self) -> str:
        return f"<@task: {self.name} of {self.app!r}>"


def _check_forms(args: object, kwargs: object) -> None:
    if not isinstance(args, (list, tuple)):
        raise TypeError(f"task args must be a list or tuple, not {type(args).__name__}")
    if not isinstance(kwargs, Mapping):
        raise TypeError(f"task kwargs must be a mapping, not {type(kwargs).__name__}")


def _retrying(task: Task[Any, Any]) -> Callable[..., Any]:
    """Wrap ``run`` so that the exceptions of ``autoretry_for`` lead to a retry."""
    run = task._run_once  # type: ignore[attr-defined]

    @functools.wraps(run)
    def run_or_retry(*args: Any, **kwargs: Any) -> Any:
        try:
            return run(*args, **kwargs)
        except (Ignore, Retry, Reject):
            raise
        except tuple(task.dont_autoretry_for):
            raise
        except tuple(task.autoretry_for) as error:
            options = autoretry_options(task, task.request.retries)
            raise task.retry(exc=error, **options) from error

    return run_or_retry
