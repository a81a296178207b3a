"""The parts of a Celery application beside tasks and settings: backend, connection, loader, log."""

from __future__ import annotations

import datetime as dt
import os
import platform
import sys
import types
import uuid
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import lavoro
from lavoro import signals
from lavoro.canvas import Signature, signature
from lavoro.config.from_text import settings_of
from lavoro.config.lookup import first
from lavoro.config.settings import symbol
from lavoro.definition.arguments import Arguments
from lavoro.exceptions import ImproperlyConfigured, LavoroWarning
from lavoro.execution.context import current as current_request
from lavoro.middleware.stack import MiddlewareStack
from lavoro.surface.backend import Backend
from lavoro.surface.connection import Connection
from lavoro.surface.loader import Loader
from lavoro.surface.log import Logging

if TYPE_CHECKING:
    from lavoro.control import Control
    from lavoro.events import Events


class Unused(set[Any]):
    """A set of Celery's whose members this release does not use; it says so at each."""

    def add(self, member: Any) -> None:
        """Keep the member, with a warning."""
        warnings.warn(f"{member!r:.100} has no effect: {_UNUSED}", LavoroWarning, stacklevel=2)
        super().add(member)


_UNUSED = (
    "the parts and options of a worker are fixed; the signals worker_ready, heartbeat_sent and worker_shutdown tell of"
    " its life, and its option --liveness-file touches a file"
)


class Surface:
    """Base of the application, with what few applications use."""

    main: str | None
    conf: Any
    tasks: Any
    strict_typing: bool
    on_configure: Any
    """A signal, or a method of a subclass; called before the configuration is read."""

    loader_cls: Any = Loader
    log_cls: Any = Logging
    control_cls: Any = "lavoro.control:Control"
    events_cls: Any = "lavoro.events:Events"

    def _make_surface(self, loader: Any = None, log: Any = None, middleware: Iterable[Any] = ()) -> None:
        self.middleware = MiddlewareStack(middleware)
        """Code around the runs of all tasks, and around their calls; a list, the first is outermost."""
        self.loader_cls, self.log_cls = symbol_of(loader or self.loader_cls), symbol_of(log or self.log_cls)
        self.steps: defaultdict[str, set[Any]] = defaultdict(Unused, worker=Unused(), consumer=Unused())
        self.user_options: defaultdict[str, set[Any]] = defaultdict(Unused)
        self.fixups: set[Any] = set()
        self.oid = str(uuid.uuid4())
        if not callable(getattr(type(self), "on_configure", None)):
            self.on_configure = signals.Signal(name="app.on_configure")
        self.on_after_configure = signals.Signal(["source"], name="on_after_configure")
        self.on_after_finalize = signals.Signal(name="on_after_finalize")
        self.on_after_fork = signals.Signal(name="app.on_after_fork")
        self._made: dict[str, Any] = {}

    def _tell_configure(self) -> dict[str, Any]:
        """Send ``on_configure``, or call the method of a subclass, before the configuration is read."""
        if isinstance(self.on_configure, signals.Signal):
            self.on_configure.send(self)
        else:
            self.on_configure()
        return {}

    def _once(self, name: str, make: Callable[[], Any]) -> Any:
        if name not in self._made:
            self._made[name] = make()
        return self._made[name]

    # Parts

    @property
    def backend(self) -> Backend:
        """The results by the ids of tasks."""
        return self._once("backend", lambda: Backend(self))  # type: ignore[no-any-return]

    @property
    def loader(self) -> Any:
        """The importer of the modules of tasks."""
        return self._once("loader", lambda: self.loader_cls(app=self))

    @property
    def log(self) -> Any:
        """The setup of the log."""
        return self._once("log", lambda: self.log_cls(self))

    @property
    def control(self) -> Control:
        """Commands to the workers, and questions: ``app.control.inspect().active()``."""
        return self._once("control", lambda: symbol_of(self.control_cls)(self))  # type: ignore[no-any-return]

    @property
    def events(self) -> Events:
        """The events of tasks and workers: ``app.events.Receiver(connection, handlers={"*": print}).capture()``."""
        return self._once("events", lambda: symbol_of(self.events_cls)(self))  # type: ignore[no-any-return]

    def signature(self, varies: Any, *args: Any, **options: Any) -> Signature[Any]:
        """Return a signature of this application: of a task or its name, or of a signature's dict."""
        options["app"] = self
        return signature(varies, *args, **options)

    subtask = signature

    def connection(self, *args: Any, **kwargs: Any) -> Connection:
        """Return what tells whether the database answers; arguments of brokers are passed over."""
        return Connection(self)

    connection_for_read = connection_for_write = broker_connection = connection

    def connection_or_acquire(self, connection: Any = None, pool: bool = True, **_: Any) -> Any:
        """Return the connection that is given, else one."""
        return connection if connection is not None else self.connection()

    default_connection = connection_or_acquire

    # Settings

    @property
    def configured(self) -> bool:
        """Whether the configuration has been read."""
        return not self.conf.pending

    @property
    def annotations(self) -> tuple[Any, ...]:
        """The setting ``task_annotations``, as a tuple."""
        given = self.conf["task_annotations"] or ()
        return tuple(given) if isinstance(given, (list, tuple)) else (given,)

    def either(self, default_key: str, *defaults: Any) -> Any:
        """Return the first value that is not None, else the setting of that name."""
        return next((value for value in defaults if value is not None), first(self.conf, default_key))

    def config_from_cmdline(self, argv: Sequence[str], namespace: str = "celery") -> None:
        """Take settings such as ``worker.concurrency=4``; ``.concurrency=4`` is one of the namespace."""
        self.conf.update(settings_of(argv, namespace))

    def prepare_config(self, c: Any) -> Any:
        """Return the configuration as it is; for subclasses."""
        return c

    def uses_utc_timezone(self) -> bool:
        """Return whether times are UTC: that zone is set, or none, and ``enable_utc`` is on."""
        zone = self.conf.timezone
        return zone == "UTC" or (not zone and bool(self.conf["enable_utc"]))

    def bugreport(self) -> str:
        """Return what a report of a fault should hold: versions, and the settings without secrets."""
        alias = f"celery:{sys.modules['celery'].__version__} " if "celery._answer" in sys.modules else ""
        software = f"software -> {alias}lavoro:{lavoro.__version__} py:{platform.python_version()}"
        found = f"platform -> system:{platform.system()} arch:{platform.machine()}"
        return f"{software}\n{found}\n\n{self.conf.humanize()}"

    # Time

    @property
    def timezone(self) -> dt.tzinfo:
        """The time zone of the setting ``timezone``, else UTC; with ``enable_utc`` off, the machine's."""
        zone = self.conf.timezone
        if zone:
            return zone if isinstance(zone, dt.tzinfo) else ZoneInfo(zone)
        local = dt.datetime.now().astimezone().tzinfo
        return ZoneInfo("UTC") if self.conf["enable_utc"] or local is None else local

    @timezone.setter
    def timezone(self, zone: dt.tzinfo | str) -> None:
        self.conf.timezone = zone

    @timezone.deleter
    def timezone(self) -> None:
        """Celery's is kept until it is deleted; this one is read from the settings each time."""

    def now(self) -> dt.datetime:
        """Return the time, in the application's time zone."""
        return dt.datetime.now(self.timezone)

    def __class_getitem__(cls, of: Any) -> types.GenericAlias:
        """Allow ``Celery[Task]`` in annotations that are evaluated."""
        return types.GenericAlias(cls, of)

    # Classes

    def create_task_cls(self) -> Any:
        """Return the base class of the application's tasks."""
        return self.Task  # type: ignore[attr-defined]

    def subclass_with_self(
        self, Class: Any, name: str | None = None, attribute: str = "app", reverse: str | None = None,
        keep_reduce: bool = False, **attributes: Any,
    ) -> Any:  # fmt: skip
        """Return a subclass that has this application as an attribute."""
        base = symbol_of(Class)
        return type(name or base.__name__, (base,), {attribute: self, "__module__": base.__module__, **attributes})

    def type_checker(self, fun: Callable[..., Any], bound: bool = False) -> Callable[..., None]:
        """Return what raises TypeError for arguments that do not fit a function."""
        rules = Arguments(fun.__name__, fun, skip_first=bound)
        return lambda *args, **kwargs: rules.check(args, kwargs)

    @property
    def current_worker_task(self) -> Any:
        """The task that a worker runs here, or None."""
        request = current_request.get()
        return None if request is None or request.job is None else self.tasks.get(request.task)

    @property
    def thread_oid(self) -> str:
        """A name of this application in this process."""
        return self.oid

    # The command line

    def start(self, argv: Sequence[str] | None = None) -> int:
        """Run the command line for this application, by default with the arguments of this process."""
        code: int = import_module("lavoro.cli").run_for(self, sys.argv[1:] if argv is None else argv)
        return code

    def worker_main(self, argv: Sequence[str] | None = None) -> int:
        """Run a worker: ``app.worker_main(["worker", "--loglevel=INFO"])``; returns its exit code."""
        argv = sys.argv[1:] if argv is None else argv
        if "worker" not in argv:
            raise ValueError(
                "The worker sub-command must be specified in argv.\n"
                "Use app.start() to programmatically start other commands."
            )
        return self.start(argv)

    def Worker(self, **options: Any) -> WorkerCommand:
        """Return a worker that is run with ``start()``; options are those of the command line, ``loglevel="INFO"``."""
        return WorkerCommand(self, options)

    WorkController = Worker

    @property
    def Beat(self) -> Any:
        """The command ``lavoro beat`` for this application: ``app.Beat(loglevel="INFO").run()``."""
        return self.subclass_with_self("lavoro.beat.program:Beat")

    def find_name(self) -> str:
        """Return the name by which another process imports this application; raises ImproperlyConfigured."""
        for name, module in [("__main__", sys.modules["__main__"]), *sys.modules.items()]:
            for variable, value in list(getattr(module, "__dict__", {}).items()):
                if value is self:
                    return f"{_importable(name, module)}:{variable}"
        raise ImproperlyConfigured(
            f"no module has {self!r} in a variable: the processes of a worker could not import it (app = Lavoro(...))"
        )


class WorkerCommand:
    """A worker as ``app.Worker(...)`` returns it: the command ``lavoro worker`` in this process."""

    def __init__(self, app: Surface, options: dict[str, Any]) -> None:
        self.app, self.hostname, self.exitcode = app, options.get("hostname"), 0
        self._arguments = [*_arguments({name: value for name, value in options.items() if value is not None})]

    def start(self) -> int:
        """Run the worker until it ends; return its exit code."""
        self.exitcode = self.app.start(["worker", *self._arguments])
        return self.exitcode


_SHORT = {"pool_cls": "pool"}


def _arguments(options: dict[str, Any]) -> Iterable[str]:
    for name, value in options.items():
        option = f"--{_SHORT.get(name, name).replace('_', '-')}"
        if value is True:
            yield option
        elif value is not False:
            yield f"{option}={','.join(map(str, value)) if isinstance(value, (list, tuple, set)) else value}"


def symbol_of(named: Any) -> Any:
    """Return an object that is given itself or by its dotted path."""
    return symbol(named) if isinstance(named, str) else named


def _importable(name: str, module: Any) -> str:
    if name != "__main__":
        return name
    spec = getattr(module, "__spec__", None)
    return str(spec.name if spec else Path(os.path.realpath(module.__file__)))
