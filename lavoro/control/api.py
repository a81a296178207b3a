"""`app.control`: commands to the workers of an application, as Celery's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from signal import Signals
from typing import Any

from lavoro.control.inspect import Inspect
from lavoro.control.sending import EXPIRES, Answer, Sending
from lavoro.control.standard import told_of_revoke, told_of_stamps
from lavoro.store import queues

Replies = list[Answer] | None


class Control:
    """Commands to all workers, or to those of a ``destination`` or ``pattern``.

    A command is a row: it is stored before the call returns, a worker carries it out within milliseconds, and once. It
    is kept with its sender and the replies (table ``command``). Methods pass options on to `broadcast`.
    """

    def __init__(self, app: Any = None) -> None:
        self.app = app

    @property
    def inspect(self) -> type[Inspect]:
        """Questions to the workers: ``app.control.inspect().active()``."""
        return type("Inspect", (Inspect,), {"app": self.app, "__module__": Inspect.__module__})

    def broadcast(
        self, command: str, arguments: Mapping[str, Any] | None = None,
        destination: Sequence[str] | str | None = None, connection: Any = None, reply: bool = False,
        timeout: float = 1.0, limit: int | None = None, callback: Callable[[Answer], object] | None = None,
        channel: Any = None, pattern: str | None = None, matcher: str | None = None, *, expires: float = EXPIRES,
        **extra: Any,
    ) -> Replies:  # fmt: skip
        """Send a command to the workers that live now; with ``reply``, return ``[{node: reply}, ...]``.

        ``destination`` names the nodes, ``pattern`` chooses them by name (``matcher``: ``glob`` or ``pcre``).
        ``timeout`` is how many seconds to wait for replies: no longer than until all nodes have replied that live.
        ``limit`` is the most replies, ``callback`` gets each as it comes. ``expires`` is the number of seconds after
        which a node does not carry it out any more. ``connection`` and ``channel`` are passed over. Raises ValueError
        for an unknown matcher or a wrong pattern.
        """
        sending = Sending(self.app.database, command, {**(arguments or {}), **extra})
        sending.send(destination=destination, pattern=pattern, matcher=matcher, expires=expires)
        return sending.replies(timeout=timeout, limit=limit, told=callback) if reply else None

    # Tasks

    def purge(self, connection: Any = None) -> int:
        """Delete the waiting tasks of the application's queues; return how many."""
        return queues.purge(self.app.database, self.app.queues).deleted

    discard_all = purge

    def revoke(
        self, task_id: str | Sequence[str], destination: Any = None, terminate: bool = False,
        signal: str | int = "SIGTERM", **kwargs: Any,
    ) -> Replies:  # fmt: skip
        """Keep tasks from starting, on all workers; ``terminate`` also ends those that run.

        It needs no worker: it has taken effect when it returns. With ``reply``, each node says ``ok``.
        """
        ids = [task_id] if isinstance(task_id, str) else list(task_id)
        self.app.revoke(ids, terminate=terminate, signal=signal_name(signal))
        if not kwargs.get("reply"):
            return None
        return self._each(told_of_revoke(ids, terminate=terminate), destination, kwargs)

    def revoke_by_stamped_headers(
        self, headers: Mapping[str, Any] | Sequence[str], destination: Any = None, terminate: bool = False,
        signal: str | int = "SIGTERM", **kwargs: Any,
    ) -> Replies:  # fmt: skip
        """Keep tasks with one of these stamps from starting: those that wait, and those sent within a day.

        ``headers`` has values, or lists of them, by the names of stamps; ``["name=value"]`` is the same. ``terminate``
        also ends those that run. Reads all waiting tasks. With ``reply``, each node says ``ok``.
        """
        if not isinstance(headers, Mapping):
            headers = dict(_pair(header) for header in headers)
        found = self.app.site.revoke_stamped(headers, terminate=terminate, signal=signal_name(signal))
        if not kwargs.get("reply"):
            return None
        return self._each(told_of_stamps(headers, found, terminate=terminate), destination, kwargs)

    def terminate(
        self, task_id: str | Sequence[str], destination: Any = None, signal: str | int = "SIGTERM", **kwargs: Any
    ) -> Replies:
        """End tasks, also those that run."""
        return self.revoke(task_id, destination=destination, terminate=True, signal=signal, **kwargs)

    def rate_limit(
        self, task_name: str, rate_limit: int | str | None, destination: Any = None, **kwargs: Any
    ) -> Replies:
        """Set the rate limit of a task; this release has none, so workers reply with an error to any but 0 and None."""
        limit = {"task_name": task_name, "rate_limit": rate_limit}
        return self.broadcast("rate_limit", arguments=limit, destination=destination, **kwargs)

    def time_limit(
        self, task_name: str, soft: float | None = None, hard: float | None = None, destination: Any = None,
        **kwargs: Any,
    ) -> Replies:  # fmt: skip
        """Give a task other time limits, in seconds, for runs that begin from now on, until a worker is restarted."""
        limits = {"task_name": task_name, "hard": hard, "soft": soft}
        return self.broadcast("time_limit", arguments=limits, destination=destination, **kwargs)

    # Workers

    def ping(self, destination: Any = None, timeout: float = 1.0, **kwargs: Any) -> list[Answer]:
        """Ask which workers answer: ``[{node: {"ok": "pong"}}, ...]``."""
        return self.broadcast("ping", reply=True, destination=destination, timeout=timeout, **kwargs) or []

    def shutdown(self, destination: Any = None, **kwargs: Any) -> Replies:
        """Stop workers as SIGTERM does: running tasks may end within the grace."""
        return self.broadcast("shutdown", arguments={}, destination=destination, **kwargs)

    def quiet(self, destination: Any = None, **kwargs: Any) -> Replies:
        """Have workers claim nothing, finish the tasks that run, and stay, as SIGTSTP does."""
        return self.broadcast("quiet", arguments={}, destination=destination, **kwargs)

    def resume(self, destination: Any = None, **kwargs: Any) -> Replies:
        """Have quiet workers claim tasks again."""
        return self.broadcast("resume", arguments={}, destination=destination, **kwargs)

    def add_consumer(
        self, queue: str, exchange: Any = None, exchange_type: Any = "direct", routing_key: Any = None,
        options: Mapping[str, Any] | None = None, destination: Any = None, **kwargs: Any,
    ) -> Replies:  # fmt: skip
        """Have workers serve one more queue, until they are restarted; exchanges and keys are passed over."""
        return self.broadcast("add_consumer", arguments={"queue": queue}, destination=destination, **kwargs)

    def cancel_consumer(self, queue: str, destination: Any = None, **kwargs: Any) -> Replies:
        """Have workers serve a queue no longer, until they are restarted."""
        return self.broadcast("cancel_consumer", arguments={"queue": queue}, destination=destination, **kwargs)

    def pool_grow(self, n: int = 1, destination: Any = None, **kwargs: Any) -> Replies:
        """Give workers ``n`` more slots: processes of a prefork pool, else threads or greenlets of each process."""
        return self.broadcast("pool_grow", arguments={"n": n}, destination=destination, **kwargs)

    def pool_shrink(self, n: int = 1, destination: Any = None, **kwargs: Any) -> Replies:
        """Take ``n`` slots from workers; tasks that run there end first."""
        return self.broadcast("pool_shrink", arguments={"n": n}, destination=destination, **kwargs)

    def pool_restart(
        self, modules: Sequence[str] | None = None, reload: bool = False, reloader: Any = None,
        destination: Any = None, **kwargs: Any,
    ) -> Replies:  # fmt: skip
        """Replace all processes of workers one by one, as SIGHUP does; they import all modules anew.

        ``modules`` names modules that they must import by their settings already; ``reload`` changes nothing, and with
        a ``reloader`` a worker replies with an error.
        """
        arguments = {"modules": modules, "reload": reload, "reloader": None if reloader is None else repr(reloader)}
        return self.broadcast("pool_restart", arguments=arguments, destination=destination, **kwargs)

    def autoscale(self, max: int, min: int, destination: Any = None, **kwargs: Any) -> Replies:
        """Have workers choose their number of slots by load: at most ``max``, at least ``min``.

        It counts processes of a prefork pool, else slots of each process, as ``lavoro worker --autoscale`` does.
        """
        return self.broadcast("autoscale", arguments={"max": max, "min": min}, destination=destination, **kwargs)

    def heartbeat(self, destination: Any = None, **kwargs: Any) -> Replies:
        """Have workers renew their leases now."""
        return self.broadcast("heartbeat", arguments={}, destination=destination, **kwargs)

    def enable_events(self, destination: Any = None, **kwargs: Any) -> Replies:
        """Have monitors be told of the tasks of workers, until they are restarted, as the option ``-E`` does."""
        return self.broadcast("enable_events", arguments={}, destination=destination, **kwargs)

    def disable_events(self, destination: Any = None, **kwargs: Any) -> Replies:
        """Have monitors be told of no tasks of workers, until they are restarted."""
        return self.broadcast("disable_events", arguments={}, destination=destination, **kwargs)

    def election(self, id: str, topic: str, action: Any = None, connection: Any = None) -> None:
        """Hold an election, as Celery's gossip does; workers here hold none, and say so in their reply."""
        self.broadcast("election", arguments={"id": id, "topic": topic, "action": action})

    def _each(self, words: str, destination: Any, options: Mapping[str, Any]) -> list[Answer]:
        """Return the reply of each node that was meant to something that rows have done."""
        how: dict[str, Any] = {name: options.get(name) for name in ("callback", "limit", "pattern", "matcher")}
        return self.inspect(destination=destination, **how).each({"ok": words})


def signal_name(signal: str | int) -> str:
    """Return the name of a signal; raises ValueError for an unknown one."""
    try:
        return Signals(signal).name if isinstance(signal, int) else Signals[_prefixed(signal)].name
    except (KeyError, ValueError):
        raise ValueError(f"there is no signal {signal!r}: SIGTERM, SIGINT, SIGKILL and others are there") from None


def _pair(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator:
        raise ValueError(f"a stamp is written name=value, not {text!r}")
    return name, value


def _prefixed(name: str) -> str:
    upper = name.upper()
    return upper if upper.startswith("SIG") else f"SIG{upper}"
