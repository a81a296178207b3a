"""Tasks: the decorated function, how it is called, and what it can do while it runs."""

from __future__ import annotations

import contextlib
import datetime as dt
import functools
import logging
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from importlib import import_module
from typing import Any, ClassVar, ParamSpec, TypeVar

from lavoro.calling import redaction
from lavoro.calling.eager import run_eagerly, send_eagerly
from lavoro.calling.message_builder import Call, split_call
from lavoro.calling.middleware import passes, send_each, send_through
from lavoro.calling.options import NAMES, TASKS
from lavoro.calling.retrying import Asked, retry
from lavoro.calling.sending import begin, send_many, together
from lavoro.canvas.calls import Signatures
from lavoro.config import spelling
from lavoro.config.absent import mark_missing
from lavoro.definition.annotations import prepare, resolve_all
from lavoro.definition.arguments import Arguments, check_forms
from lavoro.definition.attributes import BoundApp, FromSettings, from_settings, written
from lavoro.definition.binding import Binding
from lavoro.definition.comparison import Definition
from lavoro.definition.handing import Handed
from lavoro.definition.hooks import HOOKS, checked_option
from lavoro.definition.models import Models
from lavoro.exceptions import MaxRetriesExceededError, OperationalError, Retry
from lavoro.execution import context
from lavoro.execution.context import Context, current, drop_request, request_of
from lavoro.execution.coroutines import refuse_unawaited
from lavoro.execution.retry import retrying
from lavoro.result import AsyncResult, EagerResult
from lavoro.runtime import current_app

logger = logging.getLogger("lavoro.task")

P = ParamSpec("P")
R = TypeVar("R", covariant=True)

CALL_OPTIONS = ("queue", "exchange", "routing_key", "priority", "expires", "limits", "serial", "unique")
"""Attributes of tasks that are options of every call."""


class Task(Signatures[P, R]):
    """A function that can be sent to a worker; made by ``@app.task``, subclassed for a behaviour of one's own.

    Options of the decorator become attributes. The names and defaults are Celery's::

        @app.task(bind=True, autoretry_for=(IOError,), retry_backoff=True, max_retries=5)
        def fetch(self, url: str) -> int: ...

        fetch.delay("https://example.org").get(timeout=10)
    """

    name: str = None  # type: ignore[assignment]  # until it is registered
    app: Any = BoundApp()
    _app: ClassVar[Any] = None
    """The application that has bound a task of the class."""
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
    priority: int | None = None
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
    acks_on_failure: bool | None = from_settings("task_acks_on_failure")
    acks_on_timeout: bool | None = from_settings("task_acks_on_timeout")
    track_started: bool = from_settings("task_track_started")
    ignore_result: bool = from_settings("task_ignore_result")
    store_eager_result: bool = from_settings("task_store_eager_result")
    store_errors_even_if_ignored: bool = from_settings("task_store_errors_even_if_ignored")
    throws: tuple[type[BaseException], ...] = ()
    """Errors that are expected: they are logged without traceback, the task fails all the same."""
    typing: bool = True
    """Whether calls are checked against the function's signature."""
    resultrepr_maxsize: int = 1024
    """Characters of a value that the task has returned in the log."""
    send_events: bool = True
    trail: bool = True
    before: Any = ()
    """Functions that are called before each run, with its ``RunCall``; an error of one fails the task."""
    after: Any = ()
    """Functions that are called after each run, with its ``RunCall``, its value and its exception or None."""

    limits: Any = None
    """Limits that count the task: ``Limit`` and ``Rate``."""
    serial: Any = None
    """A key whose tasks run one at a time."""
    unique: Any = None
    """Whether a second call of the same key, or of the same arguments, gets the first one's result."""

    MaxRetriesExceededError = MaxRetriesExceededError
    OperationalError = OperationalError

    __binding__: Binding
    __takes_task__: bool = False
    _orig_run: Callable[..., Any]
    """``run`` without the retries of ``autoretry_for``; only tasks that have these have it."""
    __definition__: Definition | None = None
    """The origin of the task; a second task of its name must have the same."""
    __arguments__: Arguments | None = None
    __handed__: Handed | None = None
    """The resources among the parameters of the function, which are no part of a call."""
    __models__: Models | None = None
    """Validates arguments and dumps results that are pydantic models, with the option ``pydantic``."""

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """Do the work; the decorated function takes this place."""
        raise NotImplementedError(f"Tasks must define the run method. {self.name} has none")

    def bind(self, app: Any) -> None:
        """Make the task one of this application."""
        cls = type(self)
        self.name = self.name or app.gen_task_name(cls.__name__, cls.__module__)
        refuse_unawaited(self.name, self.run)
        self.app = app
        if cls is not Task:
            cls._app = app
        self._check_options()
        self.__binding__ = Binding.of(cls, Task).renewed(self)
        if self.autoretry_for and not hasattr(self, "_orig_run"):
            self._orig_run, self.run = self.run, retrying(self)  # type: ignore[method-assign]
        self.on_bound(app)

    def _check_options(self) -> None:
        """Bring the options into their usual form, also those that a class or a setting gave.

        None stands for the default: for what a setting decides, that setting. Of ``max_retries`` it means without end.
        """
        for option in TASKS:
            holder = self if option in vars(self) else type(self)
            value = vars(self)[option] if holder is self else written(type(self), option)
            if isinstance(value, (FromSettings, property)) or (option in HOOKS and callable(value)):
                continue
            if value is None and (default := vars(Task)[option]) is not None and option != "max_retries":
                vars(self).pop(option, None)
                setattr(type(self), option, default)
            elif (usual := checked_option(self.name, option, value)) is not value:
                setattr(holder, option, usual)

    @classmethod
    def _get_app(cls) -> Any:
        """Return the application; Celery's name for ``app``, which packages of base classes use."""
        return cls.app

    def __own__(self, option: str) -> Any:
        """Return an option as the task itself says it; None where it leaves that to the settings."""
        value = vars(self).get(option, written(type(self), option))
        return None if isinstance(value, (FromSettings, property)) else value

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, checked_option(self.name, name, value) if name in HOOKS else value)
        if name != "__binding__":
            vars(self)["__binding__"] = self.__binding__.renewed(self)
        if (request := current.get()) is not None:
            _warn_of_sharing(self.name, name, request)

    def __settle__(self) -> None:
        """Read now what the settings say, for the worker, where they no longer change and each microsecond counts."""
        for name in dir(type(self)):
            if isinstance(written(type(self), name), FromSettings) and name not in vars(self):
                setattr(self, name, getattr(self, name))

    def annotate(self) -> None:
        """Take over what the setting ``task_annotations`` says of this task, then what it says of every task."""
        for changes in (found := list(resolve_all(prepare(self.app.conf["task_annotations"]), self))):
            for attribute, value in changes.items():
                if attribute.startswith("@"):
                    self.add_around(attribute[1:], value)
                    continue
                if not any(attribute in vars(base) for base in type(self).__mro__):
                    spelling.warn_of(f"task_annotations of {self.name!r}: the option", attribute, NAMES)
                value = checked_option(self.name, attribute, value) if attribute in HOOKS else value
                setattr(type(self), attribute, value)
        if found:
            self.bind(self.app)

    @classmethod
    def add_around(cls, attribute: str, around: Callable[[Any], Any]) -> None:
        """Put ``around`` around a method of the class: it gets the method, and returns the new one."""
        method = getattr(cls, attribute)
        inner = getattr(method, "__wrapped__", None) or method
        outer = around(inner)
        outer.__wrapped__ = inner
        setattr(cls, attribute, outer)

    def on_bound(self, app: Any) -> None:
        """Called when the task has been bound to an application."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the function here and now."""
        request = current.get()
        if request is not None and self.__binding__.calls_itself and _is_unentered(request, self.name):
            vars(request)["entered"] = True  # the __call__ of a subclass got here, from the worker
            return self.run(*args, **kwargs)  # type: ignore[no-any-return]
        base = request_of(self.name) or vars(self).get("_request_outside")
        token = current.set(Context.made_up(self.name, request, base, args=args, kwargs=kwargs))
        try:
            return self.run(*args, **kwargs)  # type: ignore[no-any-return]
        finally:
            current.reset(token)

    @property
    def __name__(self) -> str:
        return type(self).__name__  # type: ignore[return-value]  # the class has one of its own

    def push_request(self, *args: Any, **fields: Any) -> None:
        """Make up a request, for tests of a task's function: ``task.push_request(id="1", retries=2)``."""
        current.set(Context.made_up(self.name, current.get(), self.request, *args, **fields))

    def pop_request(self) -> None:
        """Drop the request that was made up last."""
        drop_request(self.name)

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
        ``OperationalError`` if the database cannot be reached; nothing is stored then::

            add.apply_async((2, 3), countdown=60, queue="slow", expires=3600)
        """
        app = self.app
        if not app.finalized:
            app.finalize(auto=True)
        args = () if args is None else args
        kwargs = {} if kwargs is None else kwargs
        if task_id is not None or link is not None or link_error is not None or shadow is not None:
            given = {"task_id": task_id, "link": link, "link_error": link_error, "shadow": shadow}
            options.update({name: value for name, value in given.items() if value is not None})
        if type(args) is not tuple or type(kwargs) is not dict:
            check_forms(args, kwargs)
        if app.middleware.send is not None and passes(app, options):
            send = partial(Task.apply_async, self)
            return send_through(app, self.name, args, kwargs, options, send)  # type: ignore[no-any-return]
        if self.typing and self.__arguments__ is not None:
            self.__arguments__.check((None, *args) if options and "gathers" in options else args, kwargs)
        if self.__models__ is not None:
            args, kwargs = self.__plain__(args, kwargs, options)
        if self.__binding__.names_itself and shadow is None:
            options["shadow"] = self.shadow_name(args, kwargs, options)
        if app.conf["task_always_eager"]:
            return send_eagerly(app, self, args, kwargs, options)
        if (send_task := app.replaced_send_task) is not None:
            options = {**self.__call_options__(), "ignore_result": self.ignore_result, "producer": producer, **options}
            options.setdefault("serializer", self.serializer)
            return send_task(  # type: ignore[no-any-return]
                self.name, args, kwargs, **options, result_cls=self.AsyncResult, task_type=self
            )
        sending = begin(app, self, self.name, args, kwargs, options)
        if not sending.resent:
            holders = app.publish([sending.message], **sending.how)
            if holders:
                return sending.end_unsent(app, holders)
        result: AsyncResult[R] = sending.end(app)
        if sending.builder.ignored:
            result.ignored = True
        return result

    def delay_many(self, calls: Iterable[Call], *, atomic: bool = False, **options: Any) -> list[AsyncResult[R]]:
        """Send the task many times in few statements; return the results in order.

        Each call is a sequence of positional arguments or a mapping of keyword arguments. Options are those of
        ``apply_async`` and hold for all. With ``atomic`` either all are stored or none, else batch by batch
        (setting ``lavoro_batch``)::

            resize.delay_many([(photo, 200), (photo, 800)])
            greet.delay_many({"name": name} for name in names)
        """
        if options.get("task_id") is not None:
            raise TypeError("task_id cannot be given for many calls: each has an id of its own")
        if self.app.conf["task_always_eager"]:
            return [self.apply_async(*split_call(call), **options) for call in calls]
        if self.app.replaced_send_task is not None:
            with together(self.app) if atomic else contextlib.nullcontext():
                return [self.apply_async(*split_call(call), **options) for call in calls]
        if self.app.middleware.send is not None:
            send = partial(Task.apply_async, self)
            return send_each(self.app, self.name, calls, options, send, atomic=atomic)
        if self.__models__ is not None:
            calls = (self._plain_call(call, options) for call in calls)
        return send_many(self.app, self, calls, atomic=atomic, options=options)

    def __plain__(
        self, args: Sequence[Any], kwargs: Mapping[str, Any], options: Mapping[str, Any]
    ) -> tuple[Sequence[Any], Mapping[str, Any]]:
        """Return arguments with plain data for models; pickle can send those as they are."""
        if self.__models__ is None or (options.get("serializer") or self.serializer) == "pickle":
            return args, kwargs
        if "gathers" in options:  # the list of results comes first
            args, kwargs = self.__models__.dumped((None, *args), kwargs, bound=self.__takes_task__)
            return args[1:], kwargs
        return self.__models__.dumped(args, kwargs, bound=self.__takes_task__)

    def _plain_call(self, call: Call, options: Mapping[str, Any]) -> Call:
        args, kwargs = self.__plain__(*split_call(call), options)
        return kwargs if isinstance(call, Mapping) else args

    def apply(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        link: Any = None,
        link_error: Any = None,
        task_id: str | None = None,
        retries: int | None = None,
        throw: bool | None = None,
        logfile: str | None = None,
        loglevel: int | None = None,
        headers: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> EagerResult[R]:
        """Run the task here, the way a worker would: with request, retries (at once), handlers and signals.

        Neither the arguments nor the result are encoded. Options are those of ``apply_async``. ``throw`` (default:
        setting ``task_eager_propagates``) raises what the task raises, a ``Retry`` too::

            add.apply((2, 3)).get()
        """
        app = self.app
        if not app.finalized:
            app.finalize(auto=True)
        options.update(
            task_id=task_id, retries=retries, link=link, link_error=link_error, logfile=logfile, loglevel=loglevel,
            headers=headers,
        )  # fmt: skip
        if app.middleware.send is not None and passes(app, options):
            given = {name: value for name, value in options.items() if value is not None}
            send = partial(Task.apply, self, throw=throw)
            return send_through(app, self.name, args or (), kwargs or {}, given, send)  # type: ignore[no-any-return]
        args, kwargs = self.__plain__(args or (), kwargs or {}, options)
        return run_eagerly(app, self, args, kwargs, options, throw=throw)

    def __call_options__(self) -> dict[str, Any]:
        """Return the options that the task itself gives to every call; those of a call win over them."""
        return {name: value for name in CALL_OPTIONS if (value := getattr(self, name)) is not None}

    def shadow_name(self, args: Sequence[Any], kwargs: Mapping[str, Any], options: Mapping[str, Any]) -> str | None:
        """Return another name of a call for logs; for subclasses."""
        return None

    def AsyncResult(self, task_id: str, **kwargs: Any) -> AsyncResult[R]:
        """Return the result of a call of this task."""
        return self.app.AsyncResult(task_id, task_name=self.name, **kwargs)  # type: ignore[no-any-return]

    @property
    def backend(self) -> Any:
        """The application's backend, which tells of results by the ids of tasks."""
        return self.app.backend

    # While it runs

    @functools.cached_property
    def _request_outside(self) -> Context:
        return Context.made_up(self.name, None, None)

    @property
    def request(self) -> Context:
        """The request of this run; outside of a run, one request that stays with the task."""
        return request_of(self.name) or self._request_outside

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

        The default countdown is ``default_retry_delay`` seconds. After ``max_retries`` retries ``exc`` is raised
        instead, without it ``MaxRetriesExceededError``. Options are those of ``apply_async`` and replace those of this
        call. ``throw=False`` returns the ``Retry`` and lets the run end by itself. Outside of a worker nothing is
        tried again: ``exc`` is raised. Of ``args`` and ``kwargs`` given alone, arguments of the other kind stay as far
        as they mean other parameters.
        """
        made = retry(self, args, kwargs, Asked(exc, eta, countdown, max_retries), options)
        if throw:
            raise made
        if not made.is_eager:  # an eager run ends with what it returns, as Celery's
            vars(self.request)["retry_pending"] = made
        return made

    def __shown__(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[str, str]:
        """Return the reprs of arguments as people may see them: without what the setting ``lavoro_redact`` names."""
        names = self.__arguments__.names if self.__arguments__ is not None else ()
        return redaction.shown(args, kwargs, names=names, patterns=self.app.conf.lavoro_redact)

    def send_event(self, type_: str, retry: bool = True, retry_policy: Any = None, **fields: Any) -> None:
        """Send an event of one's own about this run, with fields that JSON can carry; only if a monitor listens.

        ``retry`` and ``retry_policy`` are passed over: an event that cannot be stored is logged as a warning::

            self.send_event("task-progress", done=3, total=10)
        """
        request = self.request
        with self.app.events.default_dispatcher(hostname=request.hostname) as dispatcher:
            dispatcher.send(type_, uuid=request.id, retry=retry, retry_policy=retry_policy, **fields)

    def update_state(self, task_id: str | None = None, state: str | None = None, meta: Any = None, **_: Any) -> None:
        """Store a state of one's own with metadata while the task runs: ``AsyncResult.state`` and ``.info`` show it.

        ``meta`` is anything that JSON can carry. With ``task_id`` it is for that task, which may run anywhere. A final
        state is stored as its outcome, unless this process runs it. A state that cannot be stored is logged as a
        warning. In eager mode, and when the function is called directly, there is nothing to store::

            self.update_state(state="PROGRESS", meta={"done": 3, "total": 10})
        """
        request, state = request_of(self.name), state or "PROGRESS"
        if request is not None and task_id in (None, request.id):
            if request.report is not None and request.job is not None:
                request.report(request.job, state, meta)
        elif task_id is None:
            logger.warning(
                "state %s of a task %s is dropped: none runs in this thread; give its id, task_id=...", state, self.name
            )
        elif context.report_by_id is None or not context.report_by_id(task_id, state, meta):
            self.backend.store_result(task_id, meta, state, request=Context(task=self.name))

    def add_trail(self, result: Any) -> Any:
        """Add a result to the children of this run, unless ``trail`` is false; return it."""
        if self.trail:
            self.request.children.append(result)
        return result

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
        return f"<@task: {self.name} of {self.app.main or '__main__'} at {id(self.app):#x}>"

    def __copy__(self) -> Task[P, R]:
        return self

    def __deepcopy__(self, memo: object) -> Task[P, R]:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle its name, and the module that defines it: the other side has a task of its own."""
        module = type(self).__module__
        return task_of_name, (self.name, module if module in sys.modules else None)


Task.__binding__ = Binding.of(Task, Task)
mark_missing(Task, "task")


def task_of_name(name: str, module: str | None = None) -> Any:
    """Return the current application's task of that name, after an import of the module that defines it."""
    if module is not None:
        import_module(module)
    return current_app.get().tasks[name]


def _is_unentered(request: Context, name: str) -> bool:
    """Tell whether a worker began a run of this task whose function has not been called yet."""
    return request.job is not None and request.owner == name and "entered" not in vars(request)


_shared: set[tuple[str, str]] = set()
"""The attributes of tasks that have been set by runs, of which others at once see them."""


def _warn_of_sharing(task: str, attribute: str, request: Context) -> None:
    """Say once that a run sets an attribute of its task, where other runs of this process have the same object."""
    together = getattr(request.run_settings, "together", 1)
    if together > 1 and (task, attribute) not in _shared:
        _shared.add((task, attribute))
        logger.warning(
            "task %s sets self.%s while it runs: the %d tasks that run at once in this process share that attribute;"
            " use a local variable or self.request, or start the worker with -P prefork",
            task, attribute, together,
        )  # fmt: skip
