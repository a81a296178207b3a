"""Builds the messages of a group's plain members: all that is independent of arguments and index is done once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lavoro.calling.message_builder import MessageBuilder, calling_task
from lavoro.calling.outbox import Outbox
from lavoro.calling.transactions import joined
from lavoro.calling.watched import calls_are_watched
from lavoro.protocol.ids import task_uuid
from lavoro.protocol.place import Place
from lavoro.protocol.signing import keyring_of
from lavoro.result import AsyncResult

_OWN = frozenset({"task_id", "group_index"})
"""Options that a plain member may have."""


class Members:
    """The members of one group, which all have the same options; those that are not plain are sent by themselves.

    A member is plain if it has no options of its own, and nothing looks at single calls: no middleware, no receiver of
    signals, no route that reads arguments, no ``apply_async``, ``send_task`` or ``shadow_name`` of the application's
    own.
    """

    def __init__(self, app: Any, options: Mapping[str, Any]) -> None:
        self._app, self._options = app, options
        outbox = joined(app)
        usual = not calls_are_watched(app) and app.site.builders.route_by_name
        self._outbox = outbox if usual and isinstance(outbox, Outbox) else None
        self._keyring = keyring_of(app.conf["lavoro_signing_keys"], required=False)
        self._builders: dict[str, MessageBuilder | None] = {}
        self._barrier = None if options.get("chord") is None else str(task_uuid(options["group_id"]))
        self._result = app.AsyncResult

    def add(self, task: Any, args: Sequence[Any], kwargs: Mapping[str, Any], own: Mapping[str, Any], index: int) -> Any:
        """Keep the message of a member, and return its result; None if it is not plain."""
        if self._outbox is None or (own and not own.keys() <= _OWN):
            return None
        builder = self._builder(task)
        if builder is None:
            return None
        if task.typing and task.__arguments__ is not None:
            task.__arguments__.check(args, kwargs)
        id: Any = own.get("task_id") if own else None
        row = None
        if id is not None and str(row := task_uuid(id)) != id:
            return None  # the id of its row is another one
        options = f'{(builder.options or "{")[:-1]},"group_index":{index}}}'
        place = Place(f'{{"{self._barrier}":{index}}}') if self._barrier is not None else None
        message = builder.build(args, kwargs, row, options, place)
        self._outbox.messages.append(message if self._keyring is None else self._keyring.signed(message))
        result: AsyncResult[Any] = self._result(id or message.id, task_name=task.name, app=self._app)
        if builder.ignored:
            result.ignored = True
        return result

    def _builder(self, task: Any) -> MessageBuilder | None:
        """Return the builder of the members that call this task; None if its calls are looked at."""
        name = task.name
        if name not in self._builders:
            binding = task.__binding__
            plain = not (binding.sends_itself or binding.names_itself or task.__models__ is not None)
            self._builders[name] = self._made(task) if plain else None
        return self._builders[name]

    def _made(self, task: Any) -> MessageBuilder | None:
        options = {name: value for name, value in self._options.items() if value is not None}
        builder: MessageBuilder = self._app.site.builders.of(task, task.name, (), {}, options, calling_task())
        # The place of such a member has its index; a payload's options are made anew for each call.
        return builder._replace(place=None) if builder.serializer == "json" and not options.get("blockers") else None
