"""Sends calls: the steps before and after a message is published, and calls by the thousand."""

from __future__ import annotations

import contextlib
import itertools
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from lavoro import signals
from lavoro.calling.message_builder import Call, MessageBuilder, calling_task, retry_under_way, split_call
from lavoro.calling.outbox import HOW, Outbox
from lavoro.calling.publish_signals import Announcement, announced, tell_published
from lavoro.calling.transactions import joined, joining
from lavoro.execution.context import Context
from lavoro.protocol.message import Message
from lavoro.result import AsyncResult
from lavoro.runtime.pipelining import in_turn, overlapped
from lavoro.store.uniques import Holders


class Sending(NamedTuple):
    """One call: its message, and the steps after it is published."""

    message: Message
    builder: MessageBuilder
    options: Mapping[str, Any]
    how: Mapping[str, Any]
    """The options that say how the message is published: ``connection``, ``retry`` and ``retry_policy``."""
    caller: Context | None
    """The request of the task that calls."""
    resent: bool
    """Whether it is a retry: then the worker stores it with the outcome of the run."""
    shown: Announcement | None
    """The call as receivers of signals see it; None where there are none."""

    def end(self, app: Any) -> AsyncResult[Any]:
        """Send the signal, note the child at the calling task, and return the result object."""
        if self.shown is not None:
            self._tell(app, self.shown)
        result = self._result(app)
        if self.options.get("ignore_result"):
            result.ignored = True
        caller = self.caller
        if caller is not None and self.options.get("add_to_parent", True) and getattr(caller.declared, "trail", True):
            caller.children.append(result)
        return result

    def end_unsent(self, app: Any, holders: Holders) -> AsyncResult[Any]:
        """Return the result of the task that holds the unique key of the call, which was not stored."""
        result: AsyncResult[Any] = app.AsyncResult(holders[self.message.id], task_name=self.message.name, app=app)
        result.created = False
        return result

    def _tell(self, app: Any, shown: Announcement) -> None:
        """Send the signal, unless the call is not stored yet: in an outbox it is sent later, in a transaction never."""
        joins = self.options.get("connection") or joined(app)
        if type(joins) is Outbox:
            joins.shown.append(shown)
        elif self.resent or joins is None:
            tell_published([shown])

    def _result(self, app: Any) -> AsyncResult[Any]:
        id = self.builder.extra.get("task_id") or self.message.id
        if (made := self.options.get("result_cls")) is not None:
            return made(str(id))  # type: ignore[no-any-return]
        return app.AsyncResult(id, task_name=self.message.name, app=app)  # type: ignore[no-any-return]


def begin(
    app: Any, task: Any, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], options: Mapping[str, Any]
) -> Sending:
    """Build the message of a call; ``task`` is the task object if it is known here.

    Unless it is ``resent``, the caller publishes the message, and then calls ``end``.
    """
    caller, shown = calling_task(), None
    resent = retry_under_way(caller, options) if caller is not None else None
    builder = None if options or caller is not None or task is None else app.site.builders.usual(task)
    if builder is None:
        builder = app.site.builders.of(task, name, args, kwargs, options, caller if resent is None else None)
    if signals.before_task_publish.receivers or signals.after_task_publish.receivers:
        builder, shown = announced(app.conf, task, builder, args, kwargs, options.get("retry_policy"))
        options = {**options, "retry_policy": shown.policy}
    message = builder.build(args, kwargs)
    if resent is not None:
        resent.append(message)
    how = {name: options[name] for name in HOW if name in options} if options else _ALONE
    return Sending(message, builder, options, how, caller, resent is not None, shown)


_ALONE: Mapping[str, Any] = MappingProxyType({})


def send_many(
    app: Any, task: Any, calls: Iterable[Call], *, atomic: bool, options: Mapping[str, Any]
) -> list[AsyncResult[Any]]:
    """Build and publish many calls of one task, batch by batch or all in one transaction."""
    shown: dict[uuid.UUID, Announcement] = {}
    build = _builder_of_calls(app, task, options, shown)
    sent: list[AsyncResult[Any]] = []
    made = app.AsyncResult
    holders: dict[uuid.UUID, uuid.UUID] = {}
    ignored = options.get("ignore_result", task.ignore_result)
    given = options.get("connection")
    callers = joined(app) if given is None else given
    with own_transaction(app) if atomic and callers is None else contextlib.nullcontext(callers) as connection:

        def publish(batch: list[Message]) -> None:
            policy = shown[batch[0].id].policy if shown else options.get("retry_policy")
            found = app.publish(batch, connection=connection, retry=options.get("retry"), retry_policy=policy)
            holders.update(found or ())
            if shown and connection is None:
                tell_published([shown[message.id] for message in batch])

        calls, size = iter(calls), app.conf["lavoro_batch"]
        batches = iter(lambda: [build(call) for call in itertools.islice(calls, size)], [])
        # The caller's own session may not be used in another thread.
        for batch in (overlapped if callers is None else in_turn)(batches, publish):
            sent += [made(message.id, task_name=message.name, app=app) for message in batch]
            if holders:
                for place, message in enumerate(batch, len(sent) - len(batch)):
                    if (holder := holders.pop(message.id, None)) is not None:
                        sent[place] = made(holder, task_name=message.name, app=app)
                        sent[place].created = False
            if ignored:
                for result in sent[-len(batch) :]:
                    result.ignored = True
            if shown and connection is callers:
                for message in batch:
                    del shown[message.id]
    tell_published(shown.values())
    caller = calling_task()
    if caller is not None and options.get("add_to_parent", True) and getattr(caller.declared, "trail", True):
        caller.children.extend(sent)
    return sent


def _builder_of_calls(
    app: Any, task: Any, options: Mapping[str, Any], shown: dict[uuid.UUID, Announcement]
) -> Callable[[Call], Message]:
    """Return the function that makes a message of a call; all that is independent of arguments is done once.

    The objects for receivers of signals go into ``shown``.
    """
    check = task.__arguments__.check if task.typing and task.__arguments__ is not None else None
    caller, builders = calling_task(), app.site.builders
    always = builders.of(task, task.name, (), {}, options, caller) if builders.route_by_name else None
    watched = bool(signals.before_task_publish or signals.after_task_publish)

    def build(call: Call) -> Message:
        args, kwargs = split_call(call)
        if check is not None:
            check(args, kwargs)
        builder: MessageBuilder = always or builders.of(task, task.name, args, kwargs, options, caller)
        if not watched:
            return builder.build(args, kwargs)
        builder, seen = announced(app.conf, task, builder, args, kwargs, options.get("retry_policy"))
        message = builder.build(args, kwargs)
        shown[message.id] = seen
        return message

    return build


@contextlib.contextmanager
def together(app: Any) -> Iterator[None]:
    """Let the calls of a block be stored together, in the caller's transaction or in one of their own."""
    if joined(app) is not None:
        yield
    else:
        with own_transaction(app) as connection, joining(app, connection):
            yield


@contextlib.contextmanager
def own_transaction(app: Any) -> Iterator[Any]:
    """Begin a transaction on a connection of the application's pool, and yield the connection."""
    with app.database.tx() as tx, tx.connection.transaction():
        yield tx.connection


def pauses(conf: Mapping[str, Any], retry: bool | None, policy: Mapping[str, Any] | None) -> Iterator[float]:
    """Yield the seconds to wait before each further try of a call that got no answer."""
    if conf["task_publish_retry"] if retry is None else retry:
        policy = {**conf["task_publish_retry_policy"], **(policy or {})}
        start, step, most = (policy.get(f"interval_{part}") or 0 for part in ("start", "step", "max"))
        times = policy.get("max_retries", 3)
        for number in itertools.count() if times is None else range(times):
            yield min(start + number * step, most)
