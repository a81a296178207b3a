"""The application: configuration, the registry of tasks, and the one door through which tasks leave."""

from __future__ import annotations

import contextlib
import contextvars
import functools
import inspect
import itertools
import json
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Concatenate, Literal, ParamSpec, TypeVar, overload

from lavoro import current, outcome, serialization, signals, states
from lavoro import executor as running
from lavoro.arguments import Arguments
from lavoro.compose import compose, protocol_headers
from lavoro.context import current as current_request
from lavoro.errors import ImproperlyConfigured, OperationalError, SchemaOutdated
from lavoro.ids import task_uuid
from lavoro.message import Job, Message
from lavoro.registry import TaskRegistry
from lavoro.result import AsyncResult, EagerResult
from lavoro.routing import Router, queue_names
from lavoro.settings import Settings, load
from lavoro.store import embedded, tasks
from lavoro.store.database import Database, translated
from lavoro.store.listener import ResultListener
from lavoro.store.migrate import migrate
from lavoro.task import Task

P = ParamSpec("P")
R = TypeVar("R")

_transaction: contextvars.ContextVar[Any] = contextvars.ContextVar("lavoro_transaction", default=None)


class Lavoro:
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
        config_source: Any = None,
        namespace: str | None = None,
        task_cls: type[Task[Any, Any]] | str | None = None,
        set_as_current: bool = True,
        autofinalize: bool = True,
        strict_typing: bool = True,
        changes: Mapping[str, Any] | None = None,
        **settings: Any,
    ) -> None:
        self.main = main
        self.autofinalize = autofinalize
        self.strict_typing = strict_typing
        self.conf = Settings()
        self.tasks: Any = TaskRegistry()
        self._task_cls: Any = task_cls
        self._lock = threading.RLock()
        self._database: Database | None = None
        self._results: ResultListener | None = None
        self._discoveries: list[Callable[[], None]] = []
        given = {"broker_url": broker, "result_backend": backend, "include": include, **(changes or {}), **settings}
        self.conf.update({name: value for name, value in given.items() if value is not None})
        if config_source is not None:
            self.config_from_object(config_source, namespace=namespace)
        current.apps.add(self)
        if set_as_current:
            current.set_current(self)
        for make in current.shared:
            make(self)
        self.on_init()

    def on_init(self) -> None:
        """Called at the end of construction, for subclasses."""

    # Configuration

    def config_from_object(self, obj: Any, *, silent: bool = False, force: bool = False, namespace: str | None = None) -> None:
        """Take settings from a module, class, object, dict, or the dotted path of one.

        With a ``namespace`` ("CELERY", "LAVORO") only names that begin with it count, without it. It is read when the
        first setting is asked for, or now with ``force``; ``silent`` passes over one that cannot be imported.
        """

        def read() -> Mapping[str, Any]:
            try:
                return load(obj, namespace=namespace)
            except ImportError:
                if silent:
                    return {}
                raise

        self.conf.add_source(read)
        if force:
            _ = self.conf.changes

    def config_from_envvar(self, variable: str, *, silent: bool = False, force: bool = False) -> None:
        """Take settings from the module that an environment variable names."""
        name = os.environ.get(variable)
        if name:
            self.config_from_object(name, silent=silent, force=force)
        elif not silent:
            raise ImproperlyConfigured(f"the environment variable {variable} is not set; it must name a module")

    def autodiscover_tasks(
        self,
        packages: Iterable[str] | Callable[[], Iterable[str]] | None = None,
        related_name: str | None = "tasks",
        force: bool = False,
    ) -> None:
        """Import the module ``related_name`` of each package: when the worker starts, or now with ``force``.

        A package without that module is passed over; an error inside it is not.
        """

        def discover() -> None:
            for package in (packages() if callable(packages) else packages) or ():
                _import_related(package, related_name)

        if force:
            discover()
        else:
            self._discoveries.append(discover)

    def import_modules(self) -> None:
        """Import everything that defines tasks: the settings ``imports`` and ``include``, and what is to be discovered."""
        signals.import_modules.send(self)
        for names in (self.conf.imports, self.conf.include):
            for name in [names] if isinstance(names, str) else names or ():
                import_module(name)
        for discover in self._discoveries:
            discover()

    def set_default(self) -> None:
        """Make this the application of all threads where none is named."""
        current.set_default(self)

    def set_current(self) -> None:
        """Make this the application of this thread."""
        current.set_current(self)

    def close(self) -> None:
        """Close the connections, and be current no longer."""
        current.forget(self)
        if self._results is not None:
            self._results.close()
        if self._database is not None:
            self._database.dispose()

    def __enter__(self) -> Lavoro:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Tasks

    @property
    def Task(self) -> Any:  # noqa: N802 (Celery's name)
        """The base class of this application's tasks; assign another to change them all."""
        if isinstance(self._task_cls, str):
            module, _, name = self._task_cls.replace(":", ".").rpartition(".")
            self._task_cls = getattr(import_module(module), name)
        return self._task_cls or Task

    @Task.setter
    def Task(self, base: Any) -> None:  # noqa: N802
        former, self._task_cls = self.Task, base
        for task in self.tasks.values():
            if type(task).__bases__ == (former,):
                type(task).__bases__ = (base,)
                task.bind(self)

    task_cls = Task

    @overload
    def task(self, function: Callable[P, R], /) -> Task[P, R]: ...
    @overload
    def task(
        self, function: None = None, /, *, bind: Literal[True], **options: Any
    ) -> Callable[[Callable[Concatenate[Any, P], R]], Task[P, R]]: ...
    @overload
    def task(self, function: None = None, /, *, bind: Literal[False] = False, **options: Any) -> Callable[[Callable[P, R]], Task[P, R]]: ...
    def task(self, function: Any = None, /, **options: Any) -> Any:
        """Make a task of a function: ``@app.task`` or ``@app.task(bind=True, queue="slow", ...)``.

        ``bind=True`` passes the task itself as first argument; ``name`` (default: ``module.function``) names it;
        ``base`` is its class; other options become its attributes. A second task of the same name is the first one.
        """
        if function is None:
            return lambda f: self._make_task(f, **options)
        return self._make_task(function, **options)

    def _make_task(
        self, function: Callable[..., Any], *, name: str | None = None, base: Any = None, bind: bool = False,
        shared: bool = True, filter: Callable[[Any], Any] | None = None, lazy: bool = True, **options: Any,
    ) -> Any:  # fmt: skip
        name = name or self.gen_task_name(function.__name__, function.__module__)
        with self._lock:
            if name not in self.tasks:
                body = filter(function) if filter else function
                attributes = {
                    **options,
                    "name": name,
                    "bound": bind,
                    "run": body if bind else staticmethod(body),
                    "__doc__": function.__doc__,
                    "__module__": function.__module__,
                    "__wrapped__": function,
                    "__arguments__": Arguments(name, function, skip_first=bind) if self.strict_typing else None,
                }
                cls = type(function.__name__, (base or self.Task,), attributes)
                self.register_task(cls())
            return self.tasks[name]

    def register_task(self, task: Any) -> Any:
        """Add a task object or class of one's own making."""
        task = task() if inspect.isclass(task) else task
        if not getattr(task, "name", None):
            task.name = self.gen_task_name(type(task).__name__, type(task).__module__)
        task.bind(self)
        self.tasks.register(task)
        return task

    def gen_task_name(self, name: str, module: str) -> str:
        """Name a task after its module and function; what is in ``__main__`` after the application or the file."""
        if module == "__main__":
            spec = getattr(sys.modules["__main__"], "__spec__", None)
            file = os.path.splitext(os.path.basename(getattr(sys.modules["__main__"], "__file__", None) or "__main__"))[0]
            module = self.main or (spec.name if spec else file)
        return f"{module}.{name}"

    def finalize(self, auto: bool = False) -> None:
        """Nothing waits to be finalized: tasks exist from the moment they are decorated."""

    # Where tasks go

    @property
    def database(self) -> Database:
        """The database, found and (if it is the embedded one) brought up to date on first use."""
        if self._database is None:
            with self._lock:
                if self._database is None:
                    self._database = self._find_database()
        return self._database

    def _find_database(self) -> Database:
        conf, url = self.conf, self.conf.database_url
        options: dict[str, Any] = dict(conf.database_engine_options)
        if conf.broker_pool_limit:
            options.setdefault("pool_size", conf.broker_pool_limit)
        database = Database(
            url or functools.partial(embedded.url, conf.lavoro_data_folder),
            schema=conf.lavoro_schema,
            connect_timeout=conf.broker_connection_timeout,
            engine_options=options,
        )
        if url is None:
            migrate(database)
        return database

    @property
    def database_url(self) -> str:
        """The database's URL in SQLAlchemy's form, for an engine of one's own on the same database."""
        return self.database.url.replace("postgresql://", "postgresql+psycopg://", 1)

    @property
    def result_listener(self) -> ResultListener:
        """What tells this process of finished tasks."""
        with self._lock:
            if self._results is None or self._results.process != os.getpid():
                self._results = ResultListener(self.database)
            return self._results

    @functools.cached_property
    def router(self) -> Router:
        """Finds each call's queue."""
        conf = self.conf
        return Router(conf.task_routes, conf.task_default_queue, conf.task_queues, conf.task_create_missing_queues)

    @property
    def queues(self) -> list[str]:
        """The queues that a worker serves when it is not told which."""
        return list(queue_names(self.conf.task_queues, self.conf.task_default_queue))

    # Sending

    def send_task(
        self, name: str, args: Sequence[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> AsyncResult[Any]:
        """Send a task by its name, known here or not; options are those of ``apply_async``."""
        task = self.tasks.get(name)
        return self.send(task, name, args or (), kwargs or {}, options.pop("task_id", None), options)

    def send(
        self, task: Any, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], task_id: str | None, options: dict[str, Any]
    ) -> AsyncResult[Any]:
        """Compose one message and publish it."""
        if task_id is not None:
            options["task_id"] = task_id
        routed = self.router.route(name, args, kwargs, options, task)
        message = compose(self.conf, task, name, args, kwargs, routed)
        message = self._announce(message, task, (args, kwargs), routed)
        self.publish([message], connection=options.get("connection"), retry=options.get("retry"))
        result: AsyncResult[Any] = AsyncResult(task_id or str(message.id), task_name=name, app=self)
        request = current_request.get()
        if request is not None and request.job is not None and options.get("add_to_parent", True):
            request.children.append(result)
        if signals.after_task_publish and options.get("connection") is None and _transaction.get() is None:
            self._tell_published(message, (args, kwargs))
        return result

    def send_many(
        self, task: Any, calls: Iterable[Sequence[Any] | Mapping[str, Any]], *, atomic: bool, options: dict[str, Any]
    ) -> list[AsyncResult[Any]]:
        """Compose and publish many calls of one task, batch by batch or all in one transaction."""
        if self.conf.task_always_eager:
            return [task.apply(*_call(call), through_serializer=True, **options) for call in calls]
        connection, sent = options.get("connection"), []
        with self._one_transaction(connection) if atomic else contextlib.nullcontext(connection) as joined:
            calls = iter(calls)
            while batch := [self._compose_one(task, call, options) for call in itertools.islice(calls, self.conf.lavoro_batch)]:
                self.publish(batch, connection=joined, retry=options.get("retry"))
                sent += [AsyncResult(message.id, task_name=task.name, app=self) for message in batch]
        return sent

    def _compose_one(self, task: Any, call: Sequence[Any] | Mapping[str, Any], options: dict[str, Any]) -> Message:
        args, kwargs = _call(call)
        if task.typing and task.__arguments__ is not None:
            task.__arguments__.check(args, kwargs)
        routed = self.router.route(task.name, args, kwargs, options, task)
        message = compose(self.conf, task, task.name, args, kwargs, routed)
        return self._announce(message, task, (args, kwargs), routed)

    @contextlib.contextmanager
    def _one_transaction(self, connection: Any) -> Iterator[Any]:
        joined = connection or _transaction.get()
        if joined is not None:
            yield joined
            return
        with self.database.tx() as tx, tx.connection.transaction():
            yield tx.connection

    @contextlib.contextmanager
    def transaction(self, connection: Any) -> Iterator[None]:
        """Let every task sent in the block join the transaction of a session or connection.

        The tasks exist when it commits, and never did when it, or a savepoint around the call, is rolled back::

            with app.transaction(db.session):
                db.session.add(user)
                send_welcome.delay(user.email)
                db.session.commit()
        """
        token = _transaction.set(connection)
        try:
            yield
        finally:
            _transaction.reset(token)

    def publish(self, messages: Sequence[Message], *, connection: Any = None, retry: bool | None = None) -> None:
        """Store messages: the one door out.

        Without a caller's transaction a lost connection is tried again (setting ``task_publish_retry_policy``), which
        cannot store a task twice: its id is fixed. Raises ``OperationalError``, ``SchemaOutdated``.
        """
        joined = connection if connection is not None else _transaction.get()
        if joined is not None:
            with translated():
                tasks.insert(self.database.join(joined), messages, always_wake=True)
            return
        for pause in self._pauses(retry):
            try:
                with self.database.tx() as tx:
                    return tasks.insert(tx, messages)
            except SchemaOutdated:
                raise
            except OperationalError:
                if pause is None:
                    raise
                time.sleep(pause)

    def _pauses(self, retry: bool | None) -> Iterator[float | None]:
        """Yield the seconds to wait after each failed try; None after the last."""
        if self.conf.task_publish_retry if retry is None else retry:
            policy = self.conf.task_publish_retry_policy
            for number in range(policy.get("max_retries", 3) or 0):
                yield min(policy.get("interval_start", 0) + number * policy.get("interval_step", 0.2), policy.get("interval_max", 1))
        yield None

    def _announce(self, message: Message, task: Any, call: tuple[Any, Any], options: Mapping[str, Any]) -> Message:
        """Send ``before_task_publish``; what receivers put into the headers travels with the task."""
        if not signals.before_task_publish:
            return message
        stored = json.loads(message.options) if message.options else {}
        headers = protocol_headers(message, stored)
        known = set(headers) - set(stored.get("headers") or {})
        properties = dict(stored.get("properties") or {})
        signals.before_task_publish.send(
            message.name, body=(*call, {}), exchange="", routing_key=message.queue, headers=headers, properties=properties,
            declare=[], retry_policy=self.conf.task_publish_retry_policy,
        )  # fmt: skip
        stored["headers"] = {key: value for key, value in headers.items() if key not in known}
        stored["properties"] = properties
        kept = {key: value for key, value in stored.items() if value}
        return message._replace(options=serialization.dumps(kept) if kept else None)

    def _tell_published(self, message: Message, call: tuple[Any, Any]) -> None:
        stored = json.loads(message.options) if message.options else {}
        signals.after_task_publish.send(
            message.name, headers=protocol_headers(message, stored), body=(*call, {}), exchange="", routing_key=message.queue
        )

    def revoke(self, task_ids: str | Sequence[str], *, terminate: bool = False, signal: str | None = None) -> None:
        """Keep tasks from starting: waiting ones end as REVOKED at once, unknown ids are remembered.

        ``terminate`` also ends those that run.
        """
        ids = [task_ids] if isinstance(task_ids, str) else list(task_ids)
        how = json.dumps({"terminate": terminate, "signal": signal or "SIGTERM"})
        with self.database.tx() as tx:
            tasks.revoke(tx, [task_uuid(id) for id in ids], cancel=how)

    def AsyncResult(self, id: str, **options: Any) -> AsyncResult[Any]:  # noqa: N802 (Celery's name)
        """Return the result of a task by its id."""
        return AsyncResult(id, app=self, **options)

    # Running here

    def run_eagerly(
        self, task: Any, args: Sequence[Any], kwargs: Mapping[str, Any], *, task_id: str | None, throw: bool | None,
        retries: int, through_serializer: bool, options: Mapping[str, Any],
    ) -> EagerResult[Any]:  # fmt: skip
        """Run a task in this process as a worker would; retries follow at once."""
        routed = self.router.route(task.name, args, kwargs, {**options, "task_id": task_id, "retries": retries}, task)
        message = compose(self.conf, task, task.name, args, kwargs, routed)
        call = None if through_serializer else (list(args), dict(kwargs))
        run = running.Run(task, _job_of(message), _node_of(self), call)
        ended = run.outcome()
        while isinstance(ended, outcome.GivenBack) and ended.state == states.RETRY:
            call = call if ended.args is None else None
            run = running.Run(task, _retried(run.job, ended), _node_of(self), call)
            ended = run.outcome()
        state = ended.state if isinstance(ended, outcome.Finished) else states.REJECTED
        traceback = ended.traceback if isinstance(ended, outcome.Finished) else None
        if run.error is not None and (self.conf.task_eager_propagates if throw is None else throw):
            raise run.error
        value = run.value if run.error is None else run.error
        return EagerResult(task_id or str(message.id), value, state or states.REJECTED, traceback, task.name, self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.main or '__main__'}>"


def _call(call: Sequence[Any] | Mapping[str, Any]) -> tuple[Sequence[Any], Mapping[str, Any]]:
    if isinstance(call, Mapping):
        return (), call
    if isinstance(call, (tuple, list)):
        return call, {}
    raise TypeError(f"each call must be a tuple of arguments or a mapping of keywords, not {type(call).__name__}")


def _job_of(message: Message) -> Job:
    return Job(
        id=message.id, name=message.name, args=message.args, kwargs=message.kwargs, options=message.options,
        payload=message.payload, queue=message.queue, priority=message.priority, attempt=message.retries + 1,
        retries=message.retries, crashes=0, due=message.eta, expires=message.expires, expired=False, revoked=False,
    )  # type: ignore[arg-type]  # fmt: skip


def _retried(job: Job, back: outcome.GivenBack) -> Job:
    changed = {"args": back.args, "kwargs": back.kwargs} if back.args is not None else {}
    return job._replace(
        retries=job.retries + 1, attempt=job.attempt + 1, options=back.options or job.options, **changed  # type: ignore[arg-type]
    )


def _node_of(app: Lavoro) -> running.Node:
    conf = app.conf
    return running.Node("eager", accept=frozenset(conf.accept_content), max_result_size=conf.lavoro_max_result_size, eager=True)


def _import_related(package: str, related_name: str | None) -> None:
    import_module(package)
    if related_name is None:
        return
    name = f"{package}.{related_name}"
    with contextlib.suppress(AttributeError):  # the "package" is a plain module: it has no submodules
        if find_spec(name) is not None:
            import_module(name)


def shared_task(*args: Any, **options: Any) -> Any:
    """Make a task for every application; the decorator for libraries and blueprints, which know none.

    What it returns stands for the task of the application that is current when it is used.
    """

    def make(function: Callable[..., Any]) -> Any:
        found: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()

        def of(app: Any) -> Any:
            if app not in found:
                found[app] = app.task(**options)(function)
            return found[app]

        current.shared.append(of)
        for app in list(current.apps):
            of(app)
        return SharedTask(lambda: of(current.get()), function)

    return make(args[0]) if len(args) == 1 and callable(args[0]) else make


class SharedTask(current.Proxy):
    """Stands for the current application's copy of a shared task."""

    def __init__(self, lookup: Callable[[], Any], function: Callable[..., Any]) -> None:
        super().__init__(lookup)
        object.__setattr__(self, "__doc__", function.__doc__)
        object.__setattr__(self, "__name__", function.__name__)
        object.__setattr__(self, "__module__", function.__module__)
        object.__setattr__(self, "__wrapped__", function)


current.when_missing(lambda: Lavoro("default", set_as_current=False))
