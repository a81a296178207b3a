"""Celery's signals, on blinker: receivers get keywords only, in the order of connection; what they raise is logged."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import itertools
import logging
import operator
import sys
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Generator, Hashable, Iterable
from contextlib import contextmanager
from typing import Any

import blinker

from lavoro.config import absent
from lavoro.exceptions import LavoroWarning
from lavoro.protocol.failure import release
from lavoro.runtime import forking

logger = logging.getLogger("lavoro.signals")

namespace = blinker.Namespace()
"""Lavoro's own signals by name."""

_numbers = itertools.count()
_number = operator.attrgetter("number")


@dataclasses.dataclass(eq=False, slots=True)
class _Connection:
    """A receiver with a sender, which is one receiver for blinker: so one function may be connected twice."""

    number: int
    """A later one has a higher number."""
    receiver: Callable[[], Any]
    """Returns the receiver, None if it is gone."""
    sender: Callable[[], Any]

    def __call__(self, *args: Any, **named: Any) -> Any:
        return self.receiver()(*args, **named)


class Signal(blinker.NamedSignal):
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
        super().__init__(name)  # type: ignore[arg-type]  # as in Celery a signal may have no name
        self.providing_args = set(providing_args or ())
        self._connections: dict[Hashable, _Connection] = {}
        self._lock = threading.RLock()  # of those who change both these and blinker's

    def __repr__(self) -> str:
        return f"<Signal: {self.name} providing_args={self.providing_args or '{}'}>"

    def __bool__(self) -> bool:
        return bool(self.receivers)

    def connect(self, *args: Any, **options: Any) -> Any:
        """Call a receiver whenever the signal is sent: ``connect(receiver, sender, weak, dispatch_uid, retry)``.

        With a ``sender`` (a task or its name) only when that one sends it. Usable as a decorator with and without
        arguments. A second connection of the same receiver to the same sender changes nothing; with ``dispatch_uid``,
        that one is compared in place of the receiver. With ``retry``, a receiver that fails is called again until it
        does not. Raises ValueError if the receiver does not accept ``**kwargs``.
        """
        if "receiver" in options or (args and callable(args[0])):
            return self._connect(*args, **options)
        return lambda function: self._connect(function, *args, **options)

    def _connect(
        self, receiver: Any, sender: object = None, weak: bool = True, dispatch_uid: Any = None,
        retry: bool = False,
    ) -> Any:  # fmt: skip
        if (row := absent.ABSENT.get(f"signals.{self.name}")) is not None:
            warnings.warn(f"the signal {self.name} is never sent: {row.sentence}", LavoroWarning, stacklevel=3)
        if not _accepts_keywords(receiver):
            raise ValueError(f"{receiver!r} cannot receive signal {self.name}: it must accept **kwargs")
        place, key = _place(receiver, sender, dispatch_uid), _key(sender)
        called = _until_it_works(receiver) if retry else receiver
        gone = functools.partial(self._end_of_one_gone, place)
        with self._lock:
            if place not in self._connections:
                found = _reference(called, gone) if weak and not retry else lambda: called
                new = self._connections[place] = _Connection(next(_numbers), found, _held(key, gone))
                super().connect(new, key, weak=False)
        return receiver

    def disconnect(  # type: ignore[override]
        self, receiver: Any = None, sender: object = None, weak: object = None, dispatch_uid: Any = None
    ) -> bool:
        """Stop calling a receiver, named as ``connect`` was told; tell whether it was connected."""
        with self._lock:
            return self._end(_place(receiver, sender, dispatch_uid))

    def _end(self, place: Hashable) -> bool:
        connection = self._connections.pop(place, None)
        if connection is not None:
            super().disconnect(connection)
        return connection is not None

    def _end_of_one_gone(self, place: Hashable, _: object) -> None:
        """End a connection without receiver or sender: this may interrupt a holder of the lock, so it takes none."""
        if not sys.is_finalizing():
            self._end(place)

    @contextmanager
    def connected_to(self, receiver: Callable[..., Any], sender: object = None) -> Generator[None, None, None]:
        """Call a receiver while the block runs."""
        self.connect(receiver, sender, weak=False)
        try:
            yield
        finally:
            self.disconnect(receiver, sender)

    def has_listeners(self, sender: object = None) -> bool:
        """Tell whether anybody listens to this sender."""
        return bool(self._listeners(sender))

    def has_receivers_for(self, sender: object) -> bool:
        """Tell, at little cost, whether a receiver for this sender may be connected."""
        return super().has_receivers_for(_key(sender))

    def receivers_for(self, sender: object) -> Generator[Callable[..., Any], None, None]:
        """Yield the receivers for this sender in the order of connection."""
        yield from self._listeners(sender)

    def send(  # type: ignore[override]  # a sender must be named
        self, sender: object, **named: Any
    ) -> list[tuple[Callable[..., Any], Any]]:
        """Call the receivers in the order of connection; return each with its answer, or the exception it raised."""
        if not self.receivers or self.is_muted:
            return []
        return [(receiver, self._call(receiver, sender, named)) for receiver in self._listeners(sender)]

    send_robust = send

    def _listeners(self, sender: object) -> list[Callable[..., Any]]:
        connections: list[Any] = [*super().receivers_for(_key(sender))]
        if len(connections) > 1:  # blinker keeps them in sets
            connections.sort(key=_number)
        return [receiver for each in connections if (receiver := each.receiver()) is not None]

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


def _reference(thing: Any, gone: Callable[[Any], None]) -> Callable[[], Any]:
    return weakref.WeakMethod(thing, gone) if inspect.ismethod(thing) else weakref.ref(thing, gone)


def _held(sender: object, gone: Callable[[Any], None]) -> Callable[[], Any]:
    """Refer to a sender, strongly if it allows nothing else: no other object gets the id of one that is connected."""
    try:
        return _reference(sender, gone)
    except TypeError:
        return lambda: sender


def _place(receiver: object, sender: object, dispatch_uid: Any) -> Hashable:
    """Return the same for two connections that are one."""
    return dispatch_uid or _identity(receiver), _identity(_key(sender))


def _identity(thing: object) -> Hashable:
    """Methods are made anew each time they are asked for: they are told apart by function and object."""
    if inspect.ismethod(thing):
        return id(thing.__self__), id(thing.__func__)
    return thing if isinstance(thing, (str, int)) else id(thing)


def _key(sender: object) -> Any:
    """Senders are told apart by name where they have one: a task may be connected before it is registered."""
    if isinstance(sender, str):
        return sender
    if sender is None or sender is blinker.ANY:
        return blinker.ANY
    name = getattr(sender, "name", None)
    return name if isinstance(name, str) else sender


def _until_it_works(receiver: Callable[..., Any]) -> Callable[..., Any]:
    """Return a receiver that calls this one again when it fails: after 2 s, 4 s and so on, then each 32 s."""

    def receive(**named: Any) -> Any:
        waits = itertools.chain(range(2, 32, 2), itertools.repeat(32))
        while True:
            try:
                return receiver(**named)
            except Exception as error:
                seconds = next(waits)
                logger.error("receiver %r raised %r; it is called again in %d s", receiver, error, seconds)
            time.sleep(seconds)

    return receive


def _accepts_keywords(receiver: Callable[..., Any]) -> bool:
    try:
        parameters = inspect.signature(receiver).parameters.values()
    except (TypeError, ValueError):  # a builtin without a signature
        return True
    return any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)


def _named(name: str, *arguments: str) -> Signal:
    signal = namespace[name] = Signal(arguments, name=name)
    return signal


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
beat_init = _named("beat_init")
beat_embedded_init = _named("beat_embedded_init")
# Never sent, which `connect` warns of: the table of absent names has the reasons.
task_sent = _named("task_sent", "task_id", "task", "args", "kwargs", "eta", "taskset")
worker_before_create_process = _named("worker_before_create_process")
eventlet_pool_started = _named("eventlet_pool_started")
eventlet_pool_preshutdown = _named("eventlet_pool_preshutdown")
eventlet_pool_postshutdown = _named("eventlet_pool_postshutdown")
eventlet_pool_apply = _named("eventlet_pool_apply", "target", "args", "kwargs")
user_preload_options = _named("user_preload_options", "app", "options")
