"""The way out: a call becomes a message, finds its queue, is announced and stored."""

from __future__ import annotations

import contextlib
import itertools
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from lavoro import signals
from lavoro.calling.compose import Call, Template, calling_task, retry_under_way, split_call, template
from lavoro.calling.joining import joined, joining
from lavoro.calling.publish_signals import Announcement, announced, tell_published
from lavoro.calling.routing import Router
from lavoro.exceptions import OperationalError, SchemaOutdated
from lavoro.execution.context import Context
from lavoro.protocol.message import Message
from lavoro.protocol.signing import Keyring, keyring_of
from lavoro.result import AsyncResult
from lavoro.runtime.pipelining import in_turn, overlapped
from lavoro.store import tasks
from lavoro.store.database import translated
from lavoro.store.enqueuer import Enqueuer


class Publisher:
    """Sends the calls of one application, of which it reads the settings and uses the database."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._router: tuple[tuple[Any, ...], Router] | None = None
        """The settings that were read, and the router that was made of them."""
        self._keys: tuple[int, Keyring | None] = (-1, None)
        """The version of the settings, and the keyring that they ask for."""

    # Composing

    def send(
        self, task: Any, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], options: Mapping[str, Any]
    ) -> AsyncResult[Any]:
        """Compose one message and publish it; ``task`` is the task object if it is known here."""
        caller = calling_task()
        resent = retry_under_way(caller, options) if caller is not None else None
        form = None if options or caller is not None or task is None else self._usual_form(task)
        if form is None:
            form = self._form(task, name, args, kwargs, options, caller if resent is None else None)
        shown: Sequence[Announcement] = ()
        if signals.before_task_publish or signals.after_task_publish:
            form, seen = announced(self._app.conf, task, form, args, kwargs, options.get("retry_policy"))
            shown = [seen]
        message = form.message(args, kwargs)
        if resent is None:
            self._publish([message], options, shown)
        else:  # its worker stores it, with the outcome of the run that asked for it
            resent.append(message)
            tell_published(shown)
        result = self._result_of(message, form, options)
        if options.get("ignore_result"):
            result.ignored = True
        if caller is not None and options.get("add_to_parent", True) and getattr(caller.declared, "trail", True):
            caller.children.append(result)
        return result

    def send_many(
        self, task: Any, calls: Iterable[Call], *, atomic: bool, options: Mapping[str, Any]
    ) -> list[AsyncResult[Any]]:
        """Compose and publish many calls of one task, batch by batch or all in one transaction."""
        shown: dict[uuid.UUID, Announcement] = {}
        compose = self._composer(task, options, shown)
        sent: list[AsyncResult[Any]] = []
        ignored = options.get("ignore_result", task.ignore_result)
        joined = self._joined(options)
        with self._own_transaction() if atomic and joined is None else contextlib.nullcontext(joined) as connection:
            calls, size, together = iter(calls), self._app.conf["lavoro_batch"], {**options, "connection": connection}
            batches = iter(lambda: [compose(call) for call in itertools.islice(calls, size)], [])
            # The caller's own session may not be used in another thread.
            doing = overlapped if joined is None else in_turn
            for batch in doing(batches, lambda batch: self._publish(batch, together, _of(batch, shown))):
                sent += [AsyncResult(message.id, task_name=message.name, app=self._app) for message in batch]
                if ignored:
                    for result in sent[-len(batch) :]:
                        result.ignored = True
                if shown and connection is joined:
                    for message in batch:
                        del shown[message.id]
        tell_published(shown.values())
        return sent

    def _composer(
        self, task: Any, options: Mapping[str, Any], shown: dict[uuid.UUID, Announcement]
    ) -> Callable[[Call], Message]:
        """Return what makes a message of a call; what does not depend on the arguments is worked out only once.

        What receivers of signals are shown of it goes into ``shown``.
        """
        check = task.__arguments__.check if task.typing and task.__arguments__ is not None else None
        caller = calling_task()
        always = self._form(task, task.name, (), {}, options, caller) if self._routes_by_name() else None
        watched = bool(signals.before_task_publish or signals.after_task_publish)

        def compose(call: Call) -> Message:
            args, kwargs = split_call(call)
            if check is not None:
                check(args, kwargs)
            form = always or self._form(task, task.name, args, kwargs, options, caller)
            if not watched:
                return form.message(args, kwargs)
            form, seen = announced(self._app.conf, task, form, args, kwargs, options.get("retry_policy"))
            message = form.message(args, kwargs)
            shown[message.id] = seen
            return message

        return compose

    def _form(
        self, task: Any, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], options: Mapping[str, Any],
        caller: Context | None = None,
    ) -> Template:  # fmt: skip
        return template(self._app.conf, task, name, self.routed(task, name, args, kwargs, options), caller)

    def _usual_form(self, task: Any) -> Template | None:
        """Return the form of a task's calls without options; None where routes want to see each call.

        Made anew when a setting or an attribute of the task has changed. Without it a call takes 12 us longer.
        """
        version, known = self._app.conf.version, task.__form__  # read once: another thread may set an attribute
        if known is None or known[0] != version:
            form = self._form(task, task.name, (), {}, {}) if self._routes_by_name() else None
            known = task.__form__ = (version, form)
        return known[1]  # type: ignore[no-any-return]

    def _result_of(self, message: Message, form: Template, options: Mapping[str, Any]) -> AsyncResult[Any]:
        id = form.extra.get("task_id") or message.id
        if (made := options.get("result_cls")) is not None:
            return made(str(id))  # type: ignore[no-any-return]
        return AsyncResult(id, task_name=message.name, app=self._app)

    # Routing

    @property
    def router(self) -> Router:
        """Finds each call's queue; made anew when a setting it reads was replaced."""
        conf = self._app.conf
        read = conf["task_routes"], conf["task_default_queue"], conf["task_queues"], conf["task_create_missing_queues"]
        known = self._router  # read once: another thread may mean another site, with other settings
        if known is None or read != known[0]:
            known = self._router = read, Router(*read)
        return known[1]

    def routed(
        self, task: Any, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], options: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return a call's options with the task's own and those of its route added."""
        own = task.__call_options__() if task is not None else None
        name = options.get("route_name") or name
        return self.router.route(name, args, kwargs, {**own, **options} if own else options, task)

    def _routes_by_name(self) -> bool:
        """Tell whether no route looks at a call's arguments, as callables may."""
        routes = self._app.conf["task_routes"] or ()
        return all(isinstance(route, Mapping) for route in (routes if isinstance(routes, (list, tuple)) else [routes]))

    # Transactions

    def joining(self, connection: Any) -> contextlib.AbstractContextManager[None]:
        """Let the calls of a block join a caller's transaction."""
        return joining(self._owner(), connection)

    def _joined(self, options: Mapping[str, Any]) -> Any:
        connection = options.get("connection")
        return connection if connection is not None else joined(self._owner)

    def _owner(self) -> tuple[Any, ...]:
        """Tell whose a block is: this application's, and its database's, for it may serve several sites."""
        return self, *self._app.place

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Let the calls of a block be stored together, in the caller's transaction or in one of their own."""
        if joined(self._owner) is not None:
            yield
        else:
            with self._own_transaction() as connection, self.joining(connection):
                yield

    @contextlib.contextmanager
    def _own_transaction(self) -> Iterator[Any]:
        with self._app.database.tx() as tx, tx.connection.transaction():
            yield tx.connection

    # Storing

    def _publish(
        self, messages: Sequence[Message], options: Mapping[str, Any], shown: Sequence[Announcement] = ()
    ) -> None:
        connection = self._joined(options)
        policy = shown[0].policy if shown else options.get("retry_policy")
        self._app.publish(messages, connection=connection, retry=options.get("retry"), policy=policy)
        if shown and connection is None:
            tell_published(shown)

    def publish(
        self, messages: Sequence[Message], *, connection: Any, retry: bool | None, policy: Mapping[str, Any] | None
    ) -> None:
        """Store messages, again if the connection was lost; in a caller's transaction, once."""
        keyring = self._keyring()
        if keyring is not None:
            messages = [keyring.signed(message) for message in messages]
        if connection is not None:
            with translated():
                tasks.insert(self._app.database.join(connection), messages, always_wake=True)
            return
        enqueuer = self._app.database.own(Enqueuer)
        try:
            enqueuer.insert(messages)
        except SchemaOutdated:
            raise
        except OperationalError as error:
            enqueuer.insert_again(messages, error, self._pauses(retry, policy))

    def _keyring(self) -> Keyring | None:
        conf, known = self._app.conf, self._keys  # read once, as the router
        if known[0] != conf.version:
            known = self._keys = conf.version, keyring_of(conf["lavoro_signing_keys"], required=False)
        return known[1]

    def _pauses(self, retry: bool | None, policy: Mapping[str, Any] | None) -> Iterator[float]:
        """Yield the seconds to wait before each further try."""
        conf = self._app.conf
        if conf["task_publish_retry"] if retry is None else retry:
            policy = {**conf["task_publish_retry_policy"], **(policy or {})}
            start, step, most = (policy.get(f"interval_{part}") or 0 for part in ("start", "step", "max"))
            times = policy.get("max_retries", 3)
            for number in itertools.count() if times is None else range(times):
                yield min(start + number * step, most)


def _of(messages: Sequence[Message], shown: Mapping[uuid.UUID, Announcement]) -> list[Announcement]:
    return [shown[message.id] for message in messages] if shown else []
