"""Passes calls through the middleware of their application, each once."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import Any

from lavoro.calling.message_builder import Call, calling_task, retry_under_way, split_call
from lavoro.calling.outbox import HOW, Outbox, gathered
from lavoro.calling.sending import together
from lavoro.calling.transactions import joined
from lavoro.middleware import SendCall


def passes(app: Any, options: Mapping[str, Any], *, replaced: bool = True) -> bool:
    """Tell whether a call passes the middleware now, which is asked only where there is some.

    It does not if it did before, or is the retry of a running task, or goes on to a ``send_task`` that the
    application has ``replaced``: Lavoro's own, if that calls it, passes the call.
    """
    if options.get("passed"):
        return False
    caller = calling_task()
    if caller is not None and retry_under_way(caller, options) is not None:
        return False
    return not replaced or app.replaced_send_task is None or app.conf["task_always_eager"]


def send_through(
    app: Any, name: str, args: Any, kwargs: Any, options: dict[str, Any], send: Callable[..., Any], *,
    alone: bool = False,
) -> Any:  # fmt: skip
    """Send a call through the middleware; ``send`` is the method that does it, and is called as that.

    Unless it is ``alone``, a canvas that is being sent waits for it, so it must be sent.
    """
    sent = False

    def deliver(args: Any, kwargs: Any, options: Mapping[str, Any]) -> Any:
        nonlocal sent
        sent = True
        return send(args, kwargs, **{**options, "passed": True})

    result = app.middleware.send(SendCall(name, args, kwargs, options, deliver))
    if not (sent or alone) and isinstance(joined(app), Outbox):
        raise RuntimeError(
            f"the middleware did not send {name}, for which a canvas or schedule waits: it must proceed, or raise"
        )
    return result


def send_each(
    app: Any, name: str, calls: Iterable[Call], options: Mapping[str, Any], send: Callable[..., Any], *, atomic: bool
) -> list[Any]:  # fmt: skip
    """Send many calls one by one, and store them batch by batch, or all in one transaction."""
    how = {name: options[name] for name in HOW if options.get(name) is not None}
    own = {name: value for name, value in options.items() if name not in HOW}
    calls, size, sent = iter(calls), app.conf["lavoro_batch"], list[Any]()
    with together(app) if atomic and "connection" not in how else contextlib.nullcontext():
        while batch := [*islice(calls, size)]:
            with gathered(app, how):
                sent += [send_through(app, name, *split_call(call), {**own}, send, alone=True) for call in batch]
    return sent
