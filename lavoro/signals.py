"""Celery's signals, on blinker: receivers get keywords only, and what they raise is logged."""

from __future__ import annotations

import inspect
import logging
import warnings
import weakref
from collections.abc import Callable, Iterable
from typing import Any

import blinker

from lavoro import absent, forking
from lavoro.errors import LavoroWarning
from lavoro.failure import release

logger = logging.getLogger("lavoro.signals")


class Signal(blinker.Signal):
    """A named hook.

    Receivers get ``signal=``, ``sender=`` and the signal's own arguments as keywords, and must accept ``**kwargs``.
    What they raise is logged and does not reach the sender. An unconnected signal costs one truth test::

        @task_failure.connect
        def tell(sender, exception, **kwargs): ...

        @task_prerun.connect(sender="app.add")
        def only_for_add(task_id, **kwargs): ...
    """

    def __init__(
        self, providing_args: Iterable[str] | None = None, use_caching: bool = False, name: str | None = None
    ) -> None:
        super().__init__()
        self.name = name
        self.providing_args = set(providing_args or ())
        self._by_uid: dict[object, Callable[[], Any]] = {}

    def __repr__(self) -> str:
        return f"<Signal: {self.name} providing_args={self.providing_args or '{}'}>"

    def __bool__(self) -> bool:
        return bool(self.receivers)

    def connect(  # Celery's argument order, and usable as a decorator
        self, receiver: Any = None, sender: object = None, weak: bool = True, dispatch_uid: object = None, **_: Any
    ) -> Any:
        """Call ``receiver`` whenever the signal is sent, or only when ``sender`` (a task or its name) sends it.

        Usable as a decorator with and without arguments. A second connection with the same ``dispatch_uid`` changes
        nothing. Raises ValueError if the receiver does not accept ``**kwargs``.
        """
        if receiver is None:
            return lambda function: self.connect(function, sender, weak, dispatch_uid)
        if (row := absent.ABSENT.get(f"signals.{self.name}")) is not None:
            warnings.warn(f"the signal {self.name} is never sent: {row.sentence}", LavoroWarning, stacklevel=2)
        if not _accepts_keywords(receiver):
            raise ValueError(f"{receiver!r} cannot receive signal {self.name}: it must accept **kwargs")
        if dispatch_uid is not None:
            if self._named(dispatch_uid) is not None:
                return receiver
            self._by_uid[dispatch_uid] = _reference(receiver) if weak else lambda: receiver
        super().connect(receiver, _key(sender), weak)
        return receiver

    def disconnect(  # type: ignore[override]
        self, receiver: Any = None, sender: object = None, weak: object = None, dispatch_uid: object = None
    ) -> bool:
        """Stop calling a receiver, named by itself or by its ``dispatch_uid``; tell whether it was connected."""
        if dispatch_uid is not None:
            receiver = self._named(dispatch_uid)
            self._by_uid.pop(dispatch_uid, None)
        known = receiver is not None and any(receiver == found for found in self._connected())
        if known:
            super().disconnect(receiver, _key(sender))
        return known

    def has_listeners(self, sender: object = None) -> bool:
        """Tell whether anybody listens to this sender."""
        return any(True for _ in self.receivers_for(_key(sender)))

    def send(  # type: ignore[override]  # a sender must be named
        self, sender: object, **named: Any
    ) -> list[tuple[Callable[..., Any], Any]]:
        """Call the receivers in the order of connection; return each with its answer, or the exception it raised."""
        receivers = [*self.receivers_for(_key(sender))]
        if len(receivers) > 1:  # blinker keeps them in sets
            receivers.sort(key=self._connected().index)
        return [(receiver, self._call(receiver, sender, named)) for receiver in receivers]

    def _call(self, receiver: Callable[..., Any], sender: object, named: dict[str, Any]) -> Any:
        depth = forking.depth
        try:
            answer = receiver(signal=self, sender=sender, **named)
        except BaseException as error:
            forking.leave_new_fork(depth, error)
            if not isinstance(error, Exception):
                raise
            logger.exception("signal %s: receiver %r raised %r", self.name, receiver, error)
            release(error)
            return error
        forking.leave_new_fork(depth)
        return answer

    def _named(self, dispatch_uid: object) -> Any:
        """The receiver of that name, None if there is none or it is gone."""
        found = self._by_uid.get(dispatch_uid)
        return found() if found else None

    def _connected(self) -> list[Any]:
        return [r() if isinstance(r, weakref.ref) else r for r in self.receivers.values()]


def _reference(receiver: Any) -> Callable[[], Any]:
    return weakref.WeakMethod(receiver) if inspect.ismethod(receiver) else weakref.ref(receiver)


def _key(sender: object) -> Any:
    """Senders are told apart by name where they have one: a task may be connected before it is registered."""
    return blinker.ANY if sender is None or sender is blinker.ANY else getattr(sender, "name", sender)


def _accepts_keywords(receiver: Callable[..., Any]) -> bool:
    try:
        parameters = inspect.signature(receiver).parameters.values()
    except (TypeError, ValueError):  # a builtin without a signature
        return True
    return any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)


def _named(name: str, *arguments: str) -> Signal:
    return Signal(arguments, name=name)


before_task_publish = _named(
    "before_task_publish", "body", "exchange", "routing_key", "headers", "properties", "declare", "retry_policy"
)
after_task_publish = _named("after_task_publish", "headers", "body", "exchange", "routing_key")
task_received = _named("task_received", "request")
task_prerun = _named("task_prerun", "task_id", "task", "args", "kwargs")
task_postrun = _named("task_postrun", "task_id", "task", "args", "kwargs", "retval", "state")
task_success = _named("task_success", "result", "runtime")
task_failure = _named("task_failure", "task_id", "exception", "args", "kwargs", "traceback", "einfo")
task_internal_error = _named(
    "task_internal_error", "task_id", "args", "kwargs", "request", "exception", "traceback", "einfo"
)
task_retry = _named("task_retry", "request", "reason", "einfo")
task_revoked = _named("task_revoked", "request", "terminated", "signum", "expired")
task_unknown = _named("task_unknown", "name", "id", "message", "exc")
task_rejected = _named("task_rejected", "message", "exc")
worker_init = _named("worker_init")
worker_process_init = _named("worker_process_init")
worker_process_shutdown = _named("worker_process_shutdown", "pid", "exitcode")
worker_ready = _named("worker_ready")
worker_shutting_down = _named("worker_shutting_down", "sig", "how", "exitcode")
worker_shutdown = _named("worker_shutdown")
setup_logging = _named("setup_logging", "loglevel", "logfile", "format", "colorize")
after_setup_logger = _named("after_setup_logger", "logger", "loglevel", "logfile", "format", "colorize")
after_setup_task_logger = _named("after_setup_task_logger", "logger", "loglevel", "logfile", "format", "colorize")
import_modules = _named("import_modules")
celeryd_init = _named("celeryd_init", "instance", "conf", "options")
celeryd_after_setup = _named("celeryd_after_setup", "instance", "conf")
heartbeat_sent = _named("heartbeat_sent")
# Never sent, which `connect` warns of: the table of absent names has the reasons.
task_sent = _named("task_sent", "task_id", "task", "args", "kwargs", "eta", "taskset")
worker_before_create_process = _named("worker_before_create_process")
beat_init = _named("beat_init")
beat_embedded_init = _named("beat_embedded_init")
eventlet_pool_started = _named("eventlet_pool_started")
eventlet_pool_preshutdown = _named("eventlet_pool_preshutdown")
eventlet_pool_postshutdown = _named("eventlet_pool_postshutdown")
eventlet_pool_apply = _named("eventlet_pool_apply", "target", "args", "kwargs")
user_preload_options = _named("user_preload_options", "app", "options")
