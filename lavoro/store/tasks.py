"""A task's way through the four tables; every function runs in the caller's transaction."""

from __future__ import annotations

import contextlib
import datetime as dt
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from psycopg import pq
from psycopg.errors import InvalidParameterValue, UniqueViolation

from lavoro import states
from lavoro.protocol.message import Job, Message
from lavoro.protocol.outcome import Finished, Requeued, released
from lavoro.protocol.place import Follow
from lavoro.runtime.collecting import uncollected
from lavoro.store import chords, columns
from lavoro.store.arrays import doubles, integers, payloads, reals, smallints, texts, times, uuids
from lavoro.store.tx import Row, Tx


class Ended(NamedTuple):
    """The outcome of a task that is ended from outside."""

    id: uuid.UUID
    state: str
    result: str | None = None
    """JSON text."""
    payload: bytes | None = None


class Lane(NamedTuple):
    """A queue and priority to claim from, and the lower bound of the scan."""

    queue: str
    priority: int
    bound: dt.datetime


def insert(
    tx: Tx, messages: Sequence[Message], *, always_wake: bool = False, repeated: bool = False, assigned: bool = True,
    look: bool = True,
) -> bool:  # fmt: skip
    """Store messages; return whether no worker slept on their queue.

    ``always_wake`` notifies in any case: a worker may fall asleep before a caller's transaction commits.
    ``repeated`` says that the answer to the same call was lost: ids that are in any table by now are skipped. The
    session of the first call must have ended (`AbandonedSessions`). A call of one may have ``assigned`` its task to a
    worker: then a lock is taken for each, of which a server has only some thousands.
    Without ``look`` a single plain message notifies no worker: the caller saw a moment ago that none sleeps.
    """
    if len(messages) == 1 and not (repeated or always_wake) and tx.connection.autocommit and _is_plain(messages[0]):
        # Written out: each further function costs every call 0.1 us.
        id, name, queue, priority, _, _, _, _, _, args, kwargs, options, _, _ = messages[0]
        values = (
            id.int.to_bytes(16, "big"), queue.encode(), b"%d" % priority, name.encode(),
            None if args is None else args.encode(), None if kwargs is None else kwargs.encode(),
            None if options is None else options.encode(),
        )  # fmt: skip
        try:
            if look:
                return tx.run_prepared("insert_task", values, _PLAIN_FORMATS).get_value(0, 0) == b"t"
            tx.run_prepared("insert_task_quietly", values, _PLAIN_FORMATS)
        except UniqueViolation:
            pass  # it is stored already
        return False
    if not messages:
        return False
    if repeated or not _are_new(messages, joined=always_wake):
        _insert_any(tx, messages, always=always_wake, repeated=repeated, assigned=assigned)
    else:
        _insert_new(tx, messages, always=always_wake)
    return False


def _are_new(messages: Sequence[Message], *, joined: bool) -> bool:
    """Whether no id can be stored already, which is no error here, but would be one in the server's log.

    Ids of our own making, of version 7, are new. One that a caller chose may look like them, and would end the
    transaction it joins; many calls have no chosen ids.
    """
    return (len(messages) > 1 or not joined) and all(message.id.int >> 76 & 0xF == 7 for message in messages)


def _is_plain(message: Message) -> bool:
    """Whether a message has an id of our own, is due at once, and has no rare option."""
    id, _, _, _, retries, eta, countdown, expires, expires_in, _, _, _, payload, place = message
    return (
        id.int >> 76 & 0xF == 7
        and payload is None
        and place is None
        and not (countdown or retries)
        and eta is None
        and expires is None
        and expires_in is None
    )


def _insert_new(tx: Tx, messages: Sequence[Message], *, always: bool) -> None:
    if messages[-1].place is not None and tx.connection.autocommit and (chord := chords.parameters_of(messages)):
        try:
            return chords.insert(tx, chord, always=always)
        except UniqueViolation:
            return _insert_any(tx, messages, always=always)
    statement, parameters = _short_form(messages)
    if parameters is None:
        return _insert_any(tx, messages, always=always)
    try:
        if statement == "insert_canvas" and not always and tx.connection.autocommit:
            _insert_canvas(tx, parameters)
        else:
            tx.execute(statement, parameters | {"always": always})
    except UniqueViolation:
        if always:
            raise
        _insert_any(tx, messages, always=always)


def _insert_canvas(tx: Tx, parameters: Mapping[str, Any]) -> None:
    """Store a canvas in libpq's own words, as a lone call: psycopg's cursor would take 0.1 ms longer."""
    if any(any(parameters[name]) for name in _TIMES):  # psycopg dumps them
        tx.execute("insert_canvas", {**parameters, "always": False})
        return
    given = [_NO_TIMES if name in _TIMES else column for name, column in parameters.items()]  # in the statement's order
    tx.run_prepared("insert_canvas", [*given, b"f"], [*[_BINARY] * len(given), _TEXT])


def _short_form(messages: Sequence[Message]) -> tuple[str, dict[str, Any] | None]:
    """Return a statement for calls that differ only in arguments, or for a canvas, and its parameters if it will do."""
    fields = dict(zip(Message._fields, zip(*messages, strict=True), strict=True))
    if any(fields["place"]):
        with uncollected(len(messages)):
            return "insert_canvas", columns.of_canvas(messages)
    if fields["payload"][0] is not None or any(len(set(fields[name])) > 1 for name in _SHARED):
        return "insert_calls", None
    shared = {name: fields[name][0] for name in _SHARED}
    lists = {"ids": uuids(fields["id"]), "args": texts(fields["args"]), "kwargs": texts(fields["kwargs"])}
    return "insert_calls", shared | lists


def _insert_any(
    tx: Tx, messages: Sequence[Message], *, always: bool, repeated: bool = False, assigned: bool = False
) -> None:
    parameters = columns.of_messages(messages) | {"always": always, "repeated": repeated}
    statement = "insert_tasks"
    if any(message.place for message in messages):  # a canvas is stored as a whole, and no task of it is assigned
        statement, assigned = "insert_placed", False
        parameters |= columns.of_places(messages)
    with tx.connection.transaction() if repeated else contextlib.nullcontext():
        if repeated:
            _await_first(tx, statement, parameters, assigned=assigned)
        tx.execute(statement, parameters)  # its snapshot shows the calls that were waited for


def _await_first(tx: Tx, statement: str, parameters: Mapping[str, Any], *, assigned: bool) -> None:
    """Wait for calls of these ids that are under way, where they may meet us: at their lock, and in waiting's index."""
    tx.connection.execute("set transaction isolation level read committed")  # one snapshot for all would hide them
    if assigned:
        tx.execute("await_calls", {"ids": parameters["ids"]})
    tx.connection.execute("savepoint waiting")
    with contextlib.suppress(UniqueViolation, InvalidParameterValue):  # a canvas is stored, perhaps over
        tx.execute(statement, {**parameters, "repeated": False})
    tx.connection.execute("rollback to waiting")
    tx.execute("mark_repeat")


_PLAIN_FORMATS = (pq.Format.BINARY, *[pq.Format.TEXT] * 6)
"""Of the parameters of insert_task and insert_task_quietly."""
_SHARED = (
    "name", "queue", "priority", "retries", "eta", "countdown", "expires", "expires_in", "options", "payload",
)  # fmt: skip
"""The fields that calls share which differ only in their arguments."""
_TIMES, _NO_TIMES = ("etas", "expires"), times(())
"""The columns of a canvas that are lists, and such a column without any value."""


def claim(tx: Tx, worker_id: int, *, lanes: Sequence[Lane], limit: int) -> list[Job]:
    """Take up to ``limit`` due tasks, best lane first."""
    queues, priorities, bounds = zip(*lanes, strict=True)
    parameters = {
        "queues": texts(queues), "priorities": smallints(priorities), "bounds": times(bounds), "limit": limit,
        "worker_id": worker_id,
    }  # fmt: skip
    return [Job._make(row) for row in tx.run("claim_tasks", parameters)]


def adopt(tx: Tx, worker_id: int, *, known: Sequence[uuid.UUID]) -> list[Job]:
    """Read running tasks of the worker that it does not know, of a claim whose answer was lost."""
    return [Job._make(row) for row in tx.run("adopt_tasks", {"worker_id": worker_id, "known": list(known)})]


def discover_lanes(tx: Tx, queues: Sequence[str]) -> list[tuple[str, int, float]]:
    """List queue, priority and seconds until the first task is due, of each lane that has tasks and is not paused."""
    return [(row[0], row[1], row[2]) for row in tx.run("discover_lanes", {"queues": texts(queues)})]


def count_due(tx: Tx, queues: Sequence[str], *, most: int) -> int:
    """Count the due tasks of queues that are not paused, up to so many."""
    row = tx.row("count_due", {"queues": texts(queues), "most": most})
    return int(row[0]) if row else 0


def finish(tx: Tx, worker_id: int, outcomes: Sequence[Finished]) -> int:
    """Store outcomes whose fence holds; return how many did."""
    if len(outcomes) == 1 and _finish_alone(tx, worker_id, outcomes[0]):
        return 1
    jobs, *values, follows = zip(*outcomes, strict=True)
    parameters = columns.of_batch(worker_id, jobs, _FINISHED, values)
    if not any(follows):
        return _settle(tx, "finish_tasks", len(jobs), parameters)
    return _settle(tx, "finish_and_follow", len(jobs), parameters | columns.of_follows(jobs, follows))


def _finish_alone(tx: Tx, worker_id: int, outcome: Finished) -> bool:
    """Store one outcome by a short form, if there is one for it."""
    if outcome.follow is None:
        return _finish_one(tx, worker_id, outcome)
    following = link_of(outcome)
    return following is not None and finish_link(tx, worker_id, outcome, following, start=False) is not None


def _finish_one(tx: Tx, worker_id: int, outcome: Finished) -> bool:
    """Store one outcome by the short form; a row that it does not see may still be found by the long one."""
    job, state, result, payload, traceback, runtime, children, _ = outcome
    values = (
        job.id.bytes, b"%d" % worker_id, b"%d" % job.attempt, state.encode(),
        None if runtime is None else repr(runtime).encode(), None if result is None else result.encode(),
        payload, None if traceback is None else traceback.encode(), None if children is None else children.encode(),
    )  # fmt: skip
    return tx.run_prepared("finish_task", values, _OUTCOME_FORMATS).ntuples == 1


def link_of(outcome: Finished) -> Message | None:
    """Return the one plain message that follows a success and inherits its barriers; None for any other outcome."""
    follow = outcome.follow
    if follow is None or outcome.state != states.SUCCESS:
        return None
    if len(follow.messages) != 1 or follow.replaced or follow.never:
        return None
    [message] = follow.messages
    replaced = message.options is not None and '"replaced_task_nesting"' in message.options
    return message if message.id == follow.heir and _is_plain(message) and not replaced else None


class Linked(NamedTuple):
    """The answer about an outcome that is stored with the task that follows."""

    begun: dt.datetime | None
    """When the next task began in the same worker; None if it waits, or is another worker's."""


def finish_link(tx: Tx, worker_id: int, outcome: Finished, following: Message, *, start: bool) -> Linked | None:
    """Store an outcome and the task that follows, as ``link_of`` returns it; None if the long form has to do it.

    With ``start`` the caller has to tell of the end by ``tell_ended``.
    """
    job, _, result, payload, _, runtime, children, _ = outcome
    values = (
        job.id.bytes, b"%d" % worker_id, b"%d" % job.attempt, None if runtime is None else repr(runtime).encode(),
        None if result is None else result.encode(), payload, None if children is None else children.encode(),
        following.id.bytes, following.queue.encode(), b"%d" % following.priority, following.name.encode(),
        *(None if text is None else text.encode() for text in following[9:12]), b"t" if start else b"f",
    )  # fmt: skip
    try:
        found = tx.run_prepared("finish_link", values, _LINK_FORMATS)
    except UniqueViolation:  # a task of the next one's id is stored already
        return None
    if not found.ntuples:
        return None
    begun = found.get_value(0, 0)
    return Linked(None if begun is None else dt.datetime.fromtimestamp(float(begun), dt.timezone.utc))


def tell_ended(tx: Tx, ids: Sequence[uuid.UUID]) -> None:
    """Notify callers of links that were stored with ``start``."""
    for first in range(0, len(ids), _PAYLOAD):
        tx.run("tell_ended", {"ids": ",".join(map(str, ids[first : first + _PAYLOAD]))})


_PAYLOAD = 200
"""Most ids of one notification, which has 8,000 bytes."""
_BINARY, _TEXT = pq.Format.BINARY, pq.Format.TEXT
_LINK_FORMATS = (
    _BINARY, _TEXT, _TEXT, _TEXT, _BINARY, _BINARY, _BINARY, _BINARY, _BINARY, _TEXT, *[_BINARY] * 4, _TEXT,
)  # fmt: skip
"""Of the parameters of finish_link."""
_OUTCOME_FORMATS = (
    pq.Format.BINARY, pq.Format.TEXT, pq.Format.TEXT, pq.Format.BINARY, pq.Format.TEXT, *[pq.Format.BINARY] * 4,
)  # fmt: skip
"""Of the parameters of finish_task; texts are sent as binary, so that the server refuses a zero byte in one."""


def requeue(tx: Tx, worker_id: int, outcomes: Sequence[Requeued]) -> int:
    """Put tasks back on their queues where their fence holds; return how many went."""
    jobs, *values = zip(*outcomes, strict=True)
    return _settle(tx, "requeue_tasks", len(jobs), columns.of_batch(worker_id, jobs, _REQUEUED, values))


def send_release(tx: Tx, worker_id: int, jobs: Sequence[Job]) -> None:
    """Send the release of running tasks, and wait for no answer: nothing else may be done with the connection."""
    _, *values = zip(*map(released, jobs), strict=True)
    tx.send("requeue_tasks", columns.of_batch(worker_id, jobs, _REQUEUED, values))


_FINISHED = (
    ("states", texts), ("results", texts), ("payloads", payloads), ("tracebacks", texts), ("runtimes", reals),
    ("children", texts),
)  # fmt: skip
_REQUEUED = (
    ("states", texts), ("retries", integers), ("etas", list), ("countdowns", doubles), ("queues", texts),
    ("args", texts), ("kwargs", texts), ("options", texts), ("payloads", payloads), ("reasons", texts),
    ("errors", texts), ("tracebacks", texts), ("longest", doubles), ("priorities", smallints), ("expires", list),
    ("expires_in", doubles),
)  # fmt: skip


def _settle(tx: Tx, statement: str, number: int, parameters: Mapping[str, Any]) -> int:
    settled = _count(tx.row(statement, parameters))
    if settled < number:
        # Refused, or not seen: a row that a revoke changed while the statement waited for it is found by the next one.
        settled += _count(tx.row(statement, parameters))
    return settled


def _count(row: Row | None) -> int:
    return row[0] if row else 0


def accepted(tx: Tx, worker_id: int, ids: Sequence[uuid.UUID]) -> set[tuple[uuid.UUID, int]]:
    """Return the starts of this worker whose outcomes were accepted before."""
    return {(row[0], row[1]) for row in tx.run("accepted_outcomes", {"ids": list(ids), "worker_id": worker_id})}


def store_progress(tx: Tx, worker_id: int, job: Job, *, state: str, meta: str | None) -> bool:
    """Store a running task's custom state and its metadata (JSON); return whether its fence held."""
    parameters = {"id": job.id, "attempt": job.attempt, "worker_id": worker_id, "state": state, "meta": meta}
    return bool(tx.run("store_progress", parameters))


class Revoked(NamedTuple):
    """The tasks that a revoke has reached."""

    ended: frozenset[uuid.UUID]
    asked: frozenset[uuid.UUID]
    """Those that run, whose processes are told."""


def revoke(tx: Tx, ids: Sequence[uuid.UUID], *, cancel: str) -> int:
    """End waiting tasks, cancel running ones (``cancel`` says how), store unknown ids.

    Return how many were found.
    """
    return len(frozenset.union(*revoke_each(tx, ids, cancel=cancel)))


def revoke_each(tx: Tx, ids: Sequence[uuid.UUID], *, cancel: str) -> Revoked:
    """Do the same, and return which were found."""
    parameters = {"ids": list(ids), "cancel": cancel}
    found = [(row[0], row[1]) for row in tx.run("revoke_tasks", parameters)]
    if len(found) < len(set(ids)):
        outcome = {"state": states.REVOKED, "result": _REVOKED, "payload": None}
        held = tx.run("end_held_tasks", parameters | outcome)[0][0]
        found += [("ended", id) for id in held]
    if len({id for _, id in found}) < len(set(ids)):
        # Unknown, or on their way from table to table while the statement ran: they have arrived for the next one.
        found += [(row[0], row[1]) for row in tx.run("revoke_tasks", parameters)]
    ended, asked = (frozenset(id for fate, id in found if fate == which) for which in ("ended", "asked"))
    return Revoked(ended, asked)


_REVOKED = '{"exc_type":"TaskRevokedError","exc_module":"lavoro.exceptions","exc_message":["revoked"]}'


class Expired(NamedTuple):
    """The answer about held tasks that have expired."""

    ended: int
    limits_hold: bool
    """Whether a limit holds tasks."""


def expire_held(tx: Tx, *, limit: int = 1000) -> Expired:
    """End held tasks that have expired."""
    row = tx.row("expire_held", {"limit": limit})
    return Expired(0, False) if row is None else Expired(row[0] or 0, row[1])


def end(tx: Tx, ended: Ended, follow: Follow) -> bool:
    """End a task that waits, runs or is held, from outside; return whether it was found.

    The worker that runs it is told, and the outcome of that start is refused.
    """
    parameters = columns.of_placed(follow.messages) | ended._asdict() | {"heir": follow.heir}
    # Twice: a task on its way from table to table has arrived for the next statement.
    return any(tx.run("end_from_outside", parameters)[0][0] for _ in range(2))


def postpone_doubles(tx: Tx) -> int:
    """Postpone waiting tasks whose id is running already; return their number."""
    return len(tx.run("postpone_doubles"))
