"""The tasks that follow a run: its callbacks and the next step of its chain, or its error callbacks."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from typing import Any, NamedTuple

from lavoro.calling.outbox import composed
from lavoro.calling.places import barriers_of
from lavoro.calling.publish_signals import tell_published
from lavoro.calling.steps import step_message
from lavoro.canvas.errbacks import called_by, called_here
from lavoro.canvas.signature import maybe_signature
from lavoro.exceptions import NotRegistered
from lavoro.protocol.ids import task_uuid, uuid7
from lavoro.protocol.message import Message
from lavoro.protocol.place import Follow, Place
from lavoro.states import FAILURE, SUCCESS
from lavoro.text.printable import described

logger = logging.getLogger("lavoro.task")

Options = Mapping[str, Any]


class Call(NamedTuple):
    """A signature that is called after a run, and the options of the call beside those that all of them have."""

    signature: Any
    options: Options = {}  # noqa: RUF012  # nothing changes it


def after(options: Options) -> list[Call]:
    """Return the calls that follow a run with these options that has returned, in their order."""
    return [*_together(options.get("link") or ()), *_next_step(options.get("chain") or ())]


def _together(links: Sequence[Any]) -> Iterator[Call]:
    """Yield the callbacks: groups first, and several others as members of one group, as Celery sends them."""
    others = [link for link in links if link.get("subtask_type") != "group"]
    yield from (Call(link) for link in links if link.get("subtask_type") == "group")
    places = _members()
    for link in others:
        yield Call(link, next(places) if len(others) > 1 else {})


def _members() -> Iterator[dict[str, Any]]:
    """Yield the options of the members of a new group."""
    id = str(uuid7())
    for index in count():
        yield {"group_id": id, "group_index": index}


def _next_step(chain: Sequence[Any]) -> Iterator[Call]:
    if chain:
        yield Call(chain[-1], {"chain": list(chain[:-1])} if len(chain) > 1 else {})


def never(options: Options) -> tuple[tuple[uuid.UUID, str], ...]:
    """Return ids and names of the tasks of the chain that are not sent after a failure."""
    return tuple(pair for step in reversed(options.get("chain") or ()) for pair in _tasks_of(step))


def _tasks_of(signature: Mapping[str, Any]) -> Iterator[tuple[uuid.UUID, str]]:
    """Yield ids and names of the tasks of a frozen signature, those inside of chains, groups and chords too."""
    left = [signature]
    while left:
        each = left.pop()
        parts = each.get("kwargs") or {}
        match each.get("subtask_type"):
            case "chain" | "group":
                left += reversed(parts["tasks"])
            case "chord":
                header = parts["header"]
                left.append(parts["body"])
                left += reversed(header["kwargs"]["tasks"] if isinstance(header, Mapping) else header)
            case _ if (id := each["options"].get("task_id")) is not None:
                yield task_uuid(id), each["task"]


def follow(app: Any, request: Any, state: str, value: Any, traceback: str | None = None) -> Follow | None:
    """Compose the messages that follow a run; ``value`` is what it returned or raised.

    After a failure an error of an error callback is logged. After a success an error is raised: the result cannot be
    passed on.
    """
    options = request.options
    if state != SUCCESS:
        messages = _errbacks(app, request, value, traceback) if state == FAILURE else ()
        return Follow(messages, never=never(options))
    links, chain = options.get("link"), options.get("chain") or ()
    messages = _composed(app, request, [*_together(links)], (value,)) if links else ()
    if chain and not options.get("chord"):
        plain = step_message(app, request, chain[-1], chain[:-1], value)
        if plain is not None:
            return Follow((*messages, plain), plain.id)
    step = [*_next_step(chain)]
    following, heir = inherited(options, _composed(app, request, step, (value,)))
    return Follow((*messages, *following), heir if step and step[0].signature.get("subtask_type") != "group" else None)


def inherited(options: Options, messages: Sequence[Message]) -> tuple[tuple[Message, ...], uuid.UUID | None]:
    """Return the messages, and the id of the heir, which takes over the barriers of the run and brings none itself.

    It is the last message: a task alone, or the body of a chord.
    """
    if not messages:
        return (), None
    *others, heir = messages
    if heir.place is not None and heir.place.barriers == barriers_of(options):
        place = heir.place._replace(barriers=None)
        heir = heir._replace(place=None if place == Place() else place)
    return (*others, heir), heir.id


def call(app: Any, request: Any, state: str, value: Any, traceback: str | None = None) -> None:
    """Call what follows a run in the calling process: here and now in eager mode, else it is sent."""
    if state == SUCCESS:
        _call(app, request, after(request.options), (value,))
    elif state == FAILURE:
        _errbacks(app, request, value, traceback, eagerly=True)


def _call(app: Any, request: Any, calls: Sequence[Call], args: tuple[Any, ...]) -> None:
    common: dict[str, Any] = {"parent_id": request.id, "root_id": request.root_id}
    if app.conf["task_inherit_parent_priority"]:
        common["priority"] = request.priority
    for each in calls:
        maybe_signature(each.signature, app=app).apply_async(args, **common, **each.options)


def _composed(app: Any, request: Any, calls: Sequence[Call], args: tuple[Any, ...]) -> tuple[Message, ...]:
    with composed(app) as outbox:
        _call(app, request, calls, args)
    outbox.refuse_unique()
    tell_published(outbox.shown)
    return tuple(outbox.messages)


def _errbacks(
    app: Any, request: Any, error: BaseException, traceback: str | None, *, eagerly: bool = False
) -> tuple[Message, ...]:
    """Call the error callbacks that take the request, here; compose messages for those that take an id."""
    sent: list[Message] = []
    for failed, errbacks in called_by(request):
        places = _members()
        for each in errbacks:
            try:
                errback = maybe_signature(each, app=app)
                if _is_called_here(errback):
                    errback(failed, error, traceback)
                elif eagerly:
                    errback.apply((failed.id,), parent_id=failed.id, root_id=failed.root_id, **next(places))
                else:
                    sent += _composed(app, failed, [Call(errback, next(places))], (failed.id,))
            except Exception as raised:
                logger.exception("Errback %r raised an exception: %s", each.get("task"), described(raised))
    return tuple(sent)


def _is_called_here(errback: Any) -> bool:
    try:
        return called_here(errback.type, errback)
    except (NotRegistered, KeyError):
        return False
