"""The application: configuration, the registry of tasks, and the one door through which tasks leave."""

from __future__ import annotations

import contextlib
import datetime as dt
import inspect
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from types import ModuleType
from typing import Any, Concatenate, Literal, ParamSpec, TypeVar, overload

from lavoro.application.periodic import AppSettings, Periodic
from lavoro.application.shared_tasks import SharedTasks
from lavoro.application.site import Site
from lavoro.application.structure import Structure
from lavoro.application.task_modules import TaskModules, import_discovered
from lavoro.calling.middleware import passes, send_through
from lavoro.calling.options import warn_of_unknown
from lavoro.calling.outbox import Outbox
from lavoro.calling.routing import queue_names
from lavoro.calling.sending import begin, pauses
from lavoro.calling.transactions import joined, joining
from lavoro.canvas import builtin as _builtin  # noqa: F401  # registers tasks
from lavoro.canvas import completing
from lavoro.config import absent, spelling
from lavoro.config.settings import Configuration, Settings, symbol
from lavoro.definition.arguments import check_forms
from lavoro.definition.comparison import Definition
from lavoro.definition.registry import TaskRegistry
from lavoro.definition.task_class import check_callable, check_no_options, name_parts, shown_as, task_class
from lavoro.exceptions import AlwaysEagerIgnored, ImproperlyConfigured, OperationalError
from lavoro.execution.context import current as current_request
from lavoro.middleware.stack import named as middleware_of
from lavoro.protocol.lineage import of_application
from lavoro.protocol.message import Message
from lavoro.protocol.signing import Keyring
from lavoro.result import AsyncResult, GroupResult, ResultSet
from lavoro.runtime import current_app
from lavoro.runtime.forking import ForkedLock
from lavoro.store import uniques
from lavoro.store.configured import database_of
from lavoro.store.database import Database
from lavoro.store.enqueuer import Enqueuer
from lavoro.store.errors import translated
from lavoro.store.result_listener import ResultListener
from lavoro.store.uniques import Holders
from lavoro.surface.application import symbol_of
from lavoro.task import Task as BaseTask
from lavoro.text.printable import described

P = ParamSpec("P")
R = TypeVar("R")
App = TypeVar("App", bound="Lavoro")

_OMITTED: Any = object()


class Lavoro(Periodic, Structure):
    """An application: tasks, their configuration and their database.

    ``broker`` is a PostgreSQL URL; without one the settings, then ``LAVORO_DATABASE_URL`` and ``DATABASE_URL``, then
    the embedded PostgreSQL decide. Other keywords are settings::

        app = Lavoro("shop", broker="postgresql://localhost/shop", task_default_queue="shop")

        @app.task
        def add(x: int, y: int) -> int:
            return x + y

        add.delay(2, 3).get(timeout=10)
    """

    def __init__(
        self,
        main: str | None = None,
        *,
        broker: str | None = None,
        backend: str | None = None,
        include: Sequence[str] | None = None,
        discover: str | Sequence[str] | None = None,
        config_source: Any = None,
        namespace: str | None = None,
        task_cls: type[BaseTask[Any, Any]] | str | None = None,
        set_as_current: bool = True,
        autofinalize: bool = True,
        strict_typing: bool = True,
        changes: Mapping[str, Any] | None = None,
        loader: Any = None,
        log: Any = None,
        tasks: Any = None,
        middleware: Iterable[Any] = (),
        **settings: Any,
    ) -> None:
        self.main = main
        self.autofinalize = autofinalize
        self.strict_typing = strict_typing
        self.set_as_current = set_as_current
        self.namespace = namespace
        self._make_surface(loader, log, middleware)
        self.site = self._make_site(AppSettings(self, pending=[self._tell_configure]))
        kept = vars(self)  # of a first call: an application that is made anew keeps its tasks
        self._lock: ForkedLock = kept.get("_lock") or ForkedLock()
        self._tasks: TaskRegistry = kept.get("_tasks", TaskRegistry()) if tasks is None else symbol_of(tasks)
        self._shared: SharedTasks = kept.get("_shared") or SharedTasks(self, self._lock)
        self._task_modules = TaskModules(self)
        of_class: Any = type(self).task_cls  # a subclass may name its base there
        self._task_base: Any = task_cls or (None if isinstance(of_class, property) else of_class)
        self.finalized = False
        given = {
            "broker_url": broker, "result_backend": backend, "include": include, "lavoro_discover": discover,
            **(changes or {}), **settings,
        }  # fmt: skip
        for name in settings:
            spelling.warn_of(f"{type(self).__name__}(): the argument", name, _ARGUMENTS)
        for name, value in given.items():
            if value is not None:
                self.conf[name] = value
        if config_source is not None:
            self.config_from_object(config_source, namespace=namespace)
        if set_as_current:
            current_app.set_current(self)
        elif type(self) is not _DefaultApp:
            current_app.pass_over(self)
        self.on_init()

    def _make_site(self, conf: Settings) -> Site:
        return Site(conf, prepare=partial(self.finalize, auto=True), find=self._find_database)

    def on_init(self) -> None:
        """Called at the end of construction, for subclasses."""

    # Configuration

    @property
    def conf(self) -> Settings:
        """The settings: a mapping that is also read and written by attribute; what is assigned replaces them all."""
        return self.site.conf

    @conf.setter
    def conf(self, values: Mapping[str, Any]) -> None:
        if not isinstance(values, Settings):
            given, values = values, AppSettings(self)
            values.update(given)
        self.site.conf = values

    def add_defaults(self, defaults: Mapping[str, Any] | Callable[[], Mapping[str, Any]]) -> None:
        """Add settings that lose to all that is configured; a callable is called when the first setting is read."""
        self.conf.add_defaults(defaults)

    def config_from_object(
        self, obj: Any, silent: bool = False, force: bool = False, namespace: str | None = None
    ) -> Settings | None:
        """Take settings from a module, class, object, dict, or the dotted path of one.

        With a ``namespace`` ("CELERY", "LAVORO") only names that begin with it count, without it. It is read when the
        first setting is asked for, or now with ``force``; ``silent`` passes over one that cannot be imported.
        The default namespace is that of the application. It replaces what was given before. With ``force`` it returns
        the settings.
        """
        self.namespace = namespace or self.namespace
        self.conf.configure(Configuration(obj, self.namespace, silent))
        if not force:
            return None
        _ = self.conf.changes
        return self.conf

    def config_from_envvar(
        self, variable_name: str, silent: bool = False, force: bool = False
    ) -> Settings | Literal[False] | None:
        """Take settings from the module that an environment variable names, as ``config_from_object`` does.

        Without the variable it raises ``ImproperlyConfigured``, or returns False with ``silent``.
        """
        name = os.environ.get(variable_name)
        if name:
            return self.config_from_object(name, silent=silent, force=force)
        if silent:
            return False
        raise ImproperlyConfigured(f"the environment variable {variable_name} is not set; it must name a module")

    def autodiscover_tasks(
        self,
        packages: Iterable[str] | Callable[[], Iterable[str]] | None = None,
        related_name: str | None = "tasks",
        force: bool = False,
    ) -> None:
        """Import the module ``related_name`` of each package: when the worker starts, or now with ``force``.

        A package without that module is passed over; an error inside it is not.
        """
        if force:
            import_discovered(packages, related_name)
        else:
            self._task_modules.discover(packages, related_name)

    def import_modules(self) -> list[ModuleType]:
        """Import all that defines tasks: the settings ``imports`` and ``include``, and what is to be discovered.

        Returns the modules that the two settings name.
        """
        return self._task_modules.import_all()

    def set_default(self) -> None:
        """Make this the application of all threads where none is named."""
        current_app.set_default(self)

    def set_current(self) -> None:
        """Make this the application of this thread."""
        current_app.set_current(self)

    def close(self) -> None:
        """Close the connections, and be current no longer."""
        current_app.forget(self)
        self.resources.close()
        self.site.close()

    def __enter__(self: App) -> App:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Tasks

    @property
    def tasks(self) -> TaskRegistry:
        """The tasks by name: this application's own, and its copies of the shared ones."""
        if not self._shared.complete:
            self._shared.copy()
        if not self.finalized:
            self.finalize(auto=True)
        return self._tasks

    def shared_copy(self, make: Callable[[Any], Any]) -> Any:
        """Return this application's copy of a shared task, which ``make`` makes."""
        return self._shared.copy_of(make)

    @property
    def Task(self) -> Any:
        """The base class of this application's tasks; assign another, or its dotted path, to change them all."""
        base = symbol_of(self._task_base) or BaseTask
        if base._app is not self:
            base = type("Task", (base,), {"_app": self, "__module__": base.__module__, "__doc__": base.__doc__})
        self._task_base = base
        return base

    @Task.setter
    def Task(self, base: Any) -> None:
        former, self._task_base = self.Task, base
        for task in self._tasks.values():
            if type(task).__bases__ == (former,):
                type(task).__bases__ = (self.Task,)
                task.bind(self)

    task_cls = Task

    @property
    def current_task(self) -> Any:
        """The task that is running here, or None."""
        request = current_request.get()
        return request and self.tasks.get(request.owner or "")

    @overload
    def task(self, function: Callable[P, R], /) -> BaseTask[P, R]: ...
    @overload
    def task(
        self, function: None = None, /, *, bind: Literal[True], **options: Any
    ) -> Callable[[Callable[Concatenate[Any, P], R]], BaseTask[P, R]]: ...
    @overload
    def task(
        self, function: None = None, /, *, bind: Literal[False] = False, **options: Any
    ) -> Callable[[Callable[P, R]], BaseTask[P, R]]: ...
    def task(self, function: Any = None, /, **options: Any) -> Any:
        """Make a task of a function: ``@app.task`` or ``@app.task(bind=True, queue="slow", ...)``.

        ``bind=True`` passes the task itself as first argument; ``name`` (default: ``module.function``) names it;
        ``base`` is its class; other options become its attributes. The same function under the same name is the same
        task, however often its module is imported; other code under that name raises ``ImproperlyConfigured``::

            @app.task(bind=True, autoretry_for=(OSError,), retry_backoff=True)
            def fetch(self: Task[..., Any], url: str) -> int: ...
        """
        if function is None:
            return lambda f: self._make_task(f, **options)
        return self._make_task(function, **options)

    def _make_task(
        self, function: Callable[..., Any], *, name: str | None = None, base: Any = None, bind: bool = False,
        shared: bool = True, filter: Callable[[Any], Any] | None = None, lazy: bool = True, **options: Any,
    ) -> Any:  # fmt: skip
        check_callable(function)
        name = name or self.gen_task_name(*name_parts(function))
        definition = Definition(function, {**options, "bind": bind, "base": base})
        with self._lock.held:
            if function is self._tasks.get(name):
                check_no_options(function, {**options, "bind": bind, "base": base})
            elif self._tasks.known(name, definition) is None:
                warn_of_unknown(name, options)
                cls = task_class(name, function, self, options, base=base or self.Task, bind=bind)
                task = cls()
                vars(task).update(shown_as(function), __definition__=definition)
                self.register_task(task)
            return filter(self._tasks[name]) if filter else self._tasks[name]

    def register_task(self, task: Any, **options: Any) -> Any:
        """Add a task object or class of one's own making; options become its attributes."""
        task = task() if inspect.isclass(task) else task
        if not hasattr(task, "__definition__"):
            raise AttributeError(f"{described(task)} is no task: give an object or a class of Task, or use @app.task")
        for option, value in options.items():
            setattr(task, option, value)
        if not getattr(task, "name", None):
            task.name = self.gen_task_name(type(task).__name__, type(task).__module__)
        if self._tasks.get(task.name) is not task:
            if task.__definition__ is None:
                warn_of_unknown(task.name, (word for word, value in vars(type(task)).items() if not callable(value)))
                task.__definition__ = Definition(type(task), dict(vars(task)))
            self._tasks.known(task.name, task.__definition__)
        task.bind(self)
        self.resources.attach(task)
        self._tasks.register(task)
        if self.finalized:
            task.annotate()
        return task

    def gen_task_name(self, name: str, module: str) -> str:
        """Name a task after its module and function; what is in ``__main__`` after the application or the file."""
        if module == "__main__":
            main = sys.modules["__main__"]
            spec, file = getattr(main, "__spec__", None), getattr(main, "__file__", None)
            module = self.main or (spec.name if spec else Path(file or module).stem)
        return f"{module}.{name}"

    def finalize(self, auto: bool = False) -> None:
        """Read the settings, copy the shared tasks, and send ``on_after_configure`` and ``on_after_finalize``; once.

        The first use of the tasks or the database calls it, and so does the start of a worker.
        """
        if auto and not self.autofinalize:
            return
        named = middleware_of(self.conf["lavoro_middleware"])  # imports modules, for which the lock must be free
        with self._lock.held:
            if self.finalized:
                return
            self.middleware[:0] = named
            self.finalized = True  # receivers may use the tasks too
            waiting = list(self._tasks.values())
        self.settle_periodic()
        self.on_after_configure.send(self, source=self.conf)
        self._shared.copy()
        for task in waiting:
            task.annotate()
            self.resources.attach(task)  # again: an annotation may name a class that came later
        self.on_after_finalize.send(self)

    # Where tasks go

    @property
    def database(self) -> Database:
        """The database, found and (if it is the embedded one) brought up to date on first use.

        When the settings name another one, that one is found.
        """
        return self.site.database

    def _find_database(self, conf: Settings) -> Database:
        return database_of(conf)

    @property
    def database_url(self) -> str:
        """The database's URL in SQLAlchemy's form, for an engine of one's own on the same database."""
        return self.database.url.replace("postgresql://", "postgresql+psycopg://", 1)

    @property
    def database_shown(self) -> str:
        """The database for people to read: its URL without the password, or the folder of the embedded one."""
        return self.site.database_shown

    def engines(self) -> list[tuple[str, Any]]:
        """Return the SQLAlchemy engines that tasks use, with names for people: those of ``lavoro_engines``.

        By default a process of a worker runs no more tasks at once than the smallest of their pools has connections.
        """
        given = self.conf["lavoro_engines"]
        given = symbol(given) if isinstance(given, str) else given
        given = given() if callable(given) else given
        found = given if isinstance(given, (list, tuple)) else [] if given is None else [given]
        for engine in found:
            if not hasattr(engine, "url") or not hasattr(engine, "pool"):
                raise ImproperlyConfigured(f"lavoro_engines must name SQLAlchemy engines, not {type(engine).__name__}")
        return [(f"the engine of {engine.url.render_as_string()}", engine) for engine in found]

    @property
    def result_listener(self) -> ResultListener:
        """The listener that learns of finished tasks for this process."""
        return self.site.result_listener

    @property
    def queues(self) -> list[str]:
        """The queues that a worker serves when it is not told which."""
        return list(queue_names(self.conf.task_queues, self.conf.task_default_queue))

    # Sending

    def send_task(
        self, name: str, args: Sequence[Any] | None = None, kwargs: Mapping[str, Any] | None = None,
        countdown: float | None = None, eta: dt.datetime | str | None = None, task_id: str | None = None,
        producer: object = None, connection: Any = None, router: object = None,
        result_cls: Callable[[str], Any] | None = None, expires: Any = _OMITTED, **options: Any,
    ) -> AsyncResult[Any]:  # fmt: skip
        """Send a task by its name, known here or not; options are those of ``Task.apply_async``.

        It never runs eagerly: with the setting ``task_always_eager`` there is a warning, and it is sent all the same.
        ``result_cls`` makes the result of the id. Where a subclass, an assignment to this object or a patch of the
        class replaces this method, calls of tasks and their retries go through it too, with ``task_type`` as the task.
        """
        if self.conf["task_always_eager"] and "passed" not in options:
            warnings.warn(AlwaysEagerIgnored("task_always_eager has no effect on send_task"), stacklevel=2)
        args, kwargs = args or (), kwargs or {}
        check_forms(args, kwargs)
        given = {
            "countdown": countdown, "eta": eta, "task_id": task_id, "connection": connection, "result_cls": result_cls,
        }  # fmt: skip
        options.update({option: value for option, value in given.items() if value is not None})
        if expires is not _OMITTED:
            options["expires"] = expires
        if self.middleware.send is not None and passes(self, options, replaced=False):
            return send_through(self, name, args, kwargs, options, partial(_send_task, self, name))  # type: ignore[no-any-return]
        task = options.pop("task_type", None)
        sending = begin(self, self.tasks.get(name) if task is None else task, name, args, kwargs, options)
        if not sending.resent:
            holders = self.publish([sending.message], **sending.how)
            if holders:
                return sending.end_unsent(self, holders)
        return sending.end(self)

    @property
    def replaced_send_task(self) -> Callable[..., Any] | None:
        """The replacement of ``send_task``; None if it is not replaced."""
        replaced = type(self).send_task is not _send_task or "send_task" in self.__dict__
        return self.send_task if replaced else None

    def publish(
        self, messages: Sequence[Message], *, connection: Any = None, retry: bool | None = None,
        retry_policy: Mapping[str, Any] | None = None, signed: bool = False,
    ) -> Holders | None:  # fmt: skip
        """Store messages: the one door out. They join the transaction of ``connection`` or of a block around the call.

        Without a caller's transaction a lost connection is tried again (setting ``task_publish_retry_policy``), which
        cannot store a task twice: its id is fixed. Messages that passed here before are ``signed``. Raises
        ``OperationalError``, ``SchemaOutdated``.

        Return the holders of unique keys, by the ids of the messages that were not stored; None if none is unique.
        """
        if (keys := self.conf["lavoro_signing_keys"]) and not signed:
            messages = [Keyring(keys).signed(message) for message in messages]
        connection = joined(self) if connection is None else connection
        if connection is not None:
            if type(connection) is Outbox:
                connection.messages += messages
                return None
            with translated():
                return uniques.insert_any(self.site.database.join(connection), messages, always_wake=True)
        enqueuer = self.site.database.own(Enqueuer)
        try:
            return enqueuer.insert(messages)
        except OperationalError as error:
            return enqueuer.insert_again(messages, error, pauses(self.conf, retry, retry_policy))

    @contextlib.contextmanager
    def transaction(self, connection: Any) -> Iterator[None]:
        """Let every task sent in the block join the transaction of a session or connection.

        The tasks exist when it commits, and never did when it, or a savepoint around the call, is rolled back::

            with app.transaction(db.session):
                db.session.add(user)
                send_welcome.delay(user.email)
                db.session.commit()

        ``connection`` is a SQLAlchemy session or connection, or a psycopg connection, on this application's database.
        The block holds for its thread, greenlet or asyncio task, and does not commit. While it lasts, a call from
        another one that was started inside raises ``RuntimeError``; afterwards such a call is sent on its own.
        ``after_task_publish`` is not sent.
        """
        with joining(self, connection):
            yield

    def revoke(self, task_ids: str | Sequence[str], *, terminate: bool = False, signal: str | None = None) -> None:
        """Keep tasks from starting: waiting ones end as REVOKED at once, unknown ids are remembered.

        ``terminate`` also ends those that run.
        """
        ids = [task_ids] if isinstance(task_ids, str) else list(task_ids)
        self.site.revoke(ids, terminate=terminate, signal=signal)

    def complete(self, task_id: str, result: Any = None) -> bool:
        """End a task from outside as SUCCESS with this result, wherever it is; return whether it was there.

        What follows it starts. A run of it is interrupted, as far as the pool can, and the outcome of that is refused.
        """
        return completing.complete(self, task_id, result)

    def fail(self, task_id: str, error: BaseException) -> bool:
        """End a task from outside as FAILURE with this exception, wherever it is; return whether it was there."""
        return completing.fail(self, task_id, error)

    @cached_property
    def AsyncResult(self) -> type[AsyncResult[Any]]:
        """The class of results, of this application: ``app.AsyncResult(id)`` is that of a task by its id."""
        return of_application(AsyncResult, self)

    @cached_property
    def ResultSet(self) -> type[ResultSet]:
        """The class of sets of results, of this application."""
        return of_application(ResultSet, self)

    @cached_property
    def GroupResult(self) -> type[GroupResult]:
        """The class of results of groups, of this application: ``app.GroupResult.restore(id)``."""
        return of_application(GroupResult, self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.main or '__main__'}>"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the settings: what comes out is an application of its own, without tasks, and not the current one."""
        return _remade, (type(self), self.main, dict(self.conf.changes))


def _remade(cls: type[Lavoro], main: str | None, changes: Mapping[str, Any]) -> Lavoro:
    return cls(main=main, changes=changes, set_as_current=False)


absent.mark_missing(Lavoro, "app")
_send_task = Lavoro.send_task
_ARGUMENTS = frozenset(inspect.signature(Lavoro).parameters) - {"settings"}


class _DefaultApp(Lavoro):
    """The default application of a process that made none: it has a database only where one is configured."""

    def _find_database(self, conf: Settings) -> Database:
        folder = conf.lavoro_data_dir or os.environ.get("LAVORO_DATA_DIR")
        if conf.database_url is None and not folder:
            why, advice = current_app.missing_because
            raise ImproperlyConfigured(
                f"{why}, so tasks and results that name none have no database: {advice}, or set LAVORO_DATABASE_URL"
            )
        return super()._find_database(conf)


current_app.when_missing(lambda: _DefaultApp("default", set_as_current=False))
