"""Lists tasks of all four tables a page at a time, by a key that stays with a task while it moves."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, NamedTuple

import sqlalchemy as sa
from psycopg import errors as pg
from sqlalchemy.dialects.postgresql import JSONB, JSONPATH, REAL, TIMESTAMP

from lavoro import states
from lavoro.exceptions import InspectorError
from lavoro.store import census
from lavoro.store.census import Number
from lavoro.store.database import Database
from lavoro.store.errors import first_line, translated
from lavoro.store.schema.tables import Tables, tables_of

STAGES = ("waiting", "scheduled", "held", "running", "finished")
"""``waiting`` are tasks that are due, ``scheduled`` those of the same table that are due later."""
ORDERS = ("newest", "oldest", "ended")
SCANNED = 10_000
"""Most rows of a table that one page reads to find those that match a condition without an index."""
SHOWN = 1_000
"""Most characters of arguments in a list: a page of tasks with large arguments stays small."""
_SUCCESSES = (states.SUCCESS, states.IGNORED)
"""The states of the partitions ``finished_success``."""
_RANKS = {stage: rank for rank, stage in enumerate(("running", "waiting", "scheduled", "held", "finished"))}
"""Of two rows with one id the one with the lower rank is the present task."""
_LATEST = dt.datetime(9999, 12, 1, tzinfo=dt.timezone.utc)
"""Python's calendar ends with the year 9999."""


@dataclass(frozen=True)
class Filter:
    """The tasks to list; an empty tuple or None is no condition."""

    queues: tuple[str, ...] = ()
    states: tuple[str, ...] = ()
    stages: tuple[str, ...] = ()
    name: str | None = None
    """A pattern of SQL's ``like``."""
    arguments: tuple[str, str] | None = None
    """``path`` with a JSON path, or ``args`` or ``kwargs`` with JSON that these contain."""
    worker: str | None = None
    """A node."""
    since: dt.datetime | None = None
    until: dt.datetime | None = None
    errors: tuple[str, ...] = ()
    """Names of classes."""


class Key(NamedTuple):
    """The place of a task in the order of a list."""

    id: uuid.UUID
    ended: dt.datetime | None = None
    """Only in the order ``ended``."""


class Listed(NamedTuple):
    """One task of a list."""

    matches: bool
    last: bool
    """Whether it is the last row that was read of its table, though there may be more; it may be no match then."""
    stage: str
    id: uuid.UUID
    task_id: str
    state: str
    name: str
    queue: str
    priority: int
    attempt: int
    retries: int
    crashes: int
    due: dt.datetime
    created: dt.datetime
    started: dt.datetime | None
    finished: dt.datetime | None
    expires: dt.datetime | None
    runtime: float | None
    worker: str | None
    args: str | None
    kwargs: str | None
    payload: int | None
    """Bytes of arguments in another serializer."""
    error: str | None
    message: str | None
    reason: str | None


class Brief(NamedTuple):
    """The place of one task, for actions on many."""

    matches: bool
    last: bool
    stage: str
    id: uuid.UUID
    finished: dt.datetime | None


class Piece(NamedTuple):
    """A page of a list."""

    rows: list[Listed]
    next: Key | None
    """Where the next page begins; None: there is nothing more."""
    complete: bool
    """False: the rest was not looked at, because too many rows did not match."""


def page(database: Database, wanted: Filter, *, order: str, limit: int, after: Key | None) -> Piece:
    """Read up to ``limit`` tasks after a place, all in one snapshot."""
    return _merged(_read(database, wanted, order, limit, after, Listed), order, limit)


def oldest(database: Database, wanted: Filter, *, limit: int, after: Key | None) -> tuple[list[uuid.UUID], Key | None]:
    """Return the ids of up to ``limit`` tasks after a place, from the oldest on, and where the next ones begin."""
    piece = _merged(_read(database, wanted, "oldest", limit, after, Brief), "oldest", limit)
    return [row.id for row in piece.rows], piece.next


def _read(
    database: Database, wanted: Filter, order: str, limit: int, after: Key | None, kind: type[Listed] | type[Brief]
) -> list[Any]:
    arms = [arm._replace(kind=kind).query(wanted, order, limit, after) for arm in _arms(database.schema, wanted, order)]
    if not arms:
        return []
    with translated(), database.engine.connect() as connection:
        if wanted.arguments is not None and wanted.arguments[0] == "path":
            _check_path(connection, wanted.arguments[1])
        return [kind._make(row) for row in connection.execute(sa.union_all(*arms))]


def number(database: Database, wanted: Filter) -> Number:
    """Count the tasks that match: in small tables all, in larger ones those of a sample of pages."""
    total = Number(0)
    with translated(), database.engine.connect() as connection:
        if wanted.arguments is not None and wanted.arguments[0] == "path":
            _check_path(connection, wanted.arguments[1])
        for arm in _arms(database.schema, wanted, "newest"):
            total = total.plus(arm.number(connection, wanted))
    return total


def _check_path(connection: sa.Connection, text: str) -> None:
    try:
        connection.execute(sa.select(_path(text)))
    except sa.exc.DBAPIError as error:
        if not isinstance(error.orig, (pg.SyntaxError, pg.DataError)):
            raise
        raise InspectorError(f"the JSON path {text!r} is wrong: {first_line(error.orig)}") from None


def _merged(rows: Sequence[Any], order: str, limit: int) -> Piece:
    """Bring the rows of all tables into their order, up to the place to which each table was read."""
    ends, newest_first = order == "ended", order != "oldest"

    def place(row: Any) -> Any:
        return (row.finished, row.id.int) if ends else row.id.int  # numbers are compared faster than ids

    def key(row: Any) -> Key:
        return Key(row.id, row.finished if ends else None)

    tables: dict[str, list[tuple[Any, Any]]] = {}
    for row in rows:
        tables.setdefault("waiting" if row.stage == "scheduled" else row.stage, []).append((place(row), row))
    cut = [found[-1] for found in tables.values() if found[-1][1].last or len(found) > limit]
    horizon = (max if newest_first else min)(cut, key=itemgetter(0)) if cut else None
    reachable = [pair for found in tables.values() for pair in found]
    if horizon is not None:
        reachable = [pair for pair in reachable if (pair[0] >= horizon[0]) is newest_first or pair[0] == horizon[0]]
    # Of an id that a call has reused, the present task comes first, and the outcomes before it are left out.
    reachable.sort(key=lambda pair: (_RANKS[pair[1].stage], -(pair[1].finished or _LATEST).timestamp()))
    reachable.sort(key=itemgetter(0), reverse=newest_first)
    unique: dict[Any, Any] = {}
    for at, row in reachable:
        if row.matches:
            unique.setdefault(at, row)
    items = list(unique.values())
    if len(items) > limit or (len(items) == limit and horizon is not None):
        return Piece(items[:limit], key(items[limit - 1]), complete=True)
    return Piece(items, None if horizon is None else key(horizon[1]), complete=horizon is None)


class _Arm(NamedTuple):
    """The part of a list that one table gives."""

    tables: Tables
    table: sa.Table
    stages: tuple[str, ...]
    c: Any
    """The columns: of the table, or of the rows of it that are read."""
    kind: type[Listed] | type[Brief] = Listed

    def query(self, wanted: Filter, order: str, limit: int, after: Key | None) -> Any:
        """Return the rows that match, in their order: one more than the page has, or up to the last one read."""
        keys = self._order(self.c, order)
        reached = sa.and_(sa.true(), *self._indexed(wanted, order, after))
        if not self._conditions(wanted, order):
            rows = (
                sa.select(*self._columns(sa.true(), sa.false()))
                .where(reached)
                .order_by(*keys)
                .limit(_literal(limit + 1))
            )
            return sa.select(rows.subquery())
        # The last row that is read comes too, matching or not: it says where the next page goes on.
        most = SCANNED if wanted.arguments is None else SCANNED // 2  # JSON is read at half the speed
        place = sa.func.row_number().over(order_by=keys).label("place")
        read = sa.select(self.table, place).where(reached).order_by(*keys).limit(_literal(most)).subquery()
        arm = self._replace(c=read.c)
        matches = sa.func.coalesce(sa.and_(*arm._conditions(wanted, order)), sa.false())
        last = read.c.place == _literal(most)
        rows = sa.select(*arm._columns(matches, last)).where(sa.or_(matches, last))
        # In the order in which they are read: so the server stops at the last row that the page needs.
        return sa.select(rows.order_by(*self._order(read.c, order)).limit(_literal(limit + 1)).subquery())

    def _order(self, c: Any, order: str) -> list[Any]:
        # The index of the ends has this order, see its migration.
        ends = [c.finished_at.desc().nulls_last()] if order == "ended" else []
        return [*ends, c.id.asc() if order == "oldest" else c.id.desc()]

    def number(self, connection: sa.Connection, wanted: Filter) -> Number:
        """Count the rows that match."""
        share = census.share(connection, self.tables.metadata.schema, self._partitions(wanted))
        sample = census.sample(self.table, share)
        arm = self._replace(c=sample.c)
        conditions = (*arm._indexed(wanted, "newest", None), *arm._conditions(wanted, "newest"))
        rows = sa.select(sa.func.count()).select_from(sample).where(*conditions)
        return census.scaled(connection.execute(rows).scalar_one(), share)

    def _partitions(self, wanted: Filter) -> str:
        """Return the name of the table, or of the part of it that has such states."""
        if self.stages == ("finished",) and (wanted.errors or wanted.states):
            successes = {*_SUCCESSES} & {*wanted.states}
            if wanted.errors or not successes:
                return "finished_failure"
            if successes == {*wanted.states}:
                return "finished_success"
        return self.table.name

    def _indexed(self, wanted: Filter, order: str, after: Key | None) -> list[Any]:
        """Return the conditions by which an index finds the first row, and partitions are left out."""
        c, found = self.c, []
        if after is not None and order == "ended":
            found += [c.finished_at <= after.ended, sa.tuple_(c.finished_at, c.id) < sa.tuple_(after.ended, after.id)]
        elif after is not None:
            found.append(c.id > after.id if order == "oldest" else c.id < after.id)
        if self.stages != ("finished",):
            return found
        kinds: list[Any] = [sa.literal_column(f"'{state}'") for state in _SUCCESSES]
        match self._partitions(wanted):
            case "finished_failure":
                found.append(c.state.not_in(kinds))
            case "finished_success":
                found.append(c.state.in_(kinds))
        if order == "ended":
            found += [c.finished_at >= wanted.since] if wanted.since else []
            found += [c.finished_at < wanted.until] if wanted.until else []
        return found

    def _conditions(self, wanted: Filter, order: str) -> list[Any]:
        """Return the conditions that no index helps with."""
        c, found = self.c, []
        if wanted.queues:
            found.append(sa.cast(c.queue, sa.Text).in_(wanted.queues))
        if wanted.states:
            found.append(self._state().in_(wanted.states))
        if self.stages in (("waiting",), ("scheduled",)):
            due = c.due_at <= sa.func.statement_timestamp()
            found.append(due if self.stages == ("waiting",) else ~due)
        if wanted.name is not None:
            found.append(sa.cast(c.name, sa.Text).like(wanted.name))
        if wanted.arguments is not None:
            found.append(self._has_arguments(*wanted.arguments))
        if wanted.worker is not None:
            found.append(self._worker() == wanted.worker)
        if wanted.errors:
            found.append(self._error().in_(wanted.errors))
        if order != "ended":
            found += [self._time() >= wanted.since] if wanted.since else []
            found += [self._time() < wanted.until] if wanted.until else []
        return found

    def _has_arguments(self, kind: str, text: str) -> Any:
        args, kwargs = _jsonb(self.c.args), _jsonb(self.c.kwargs)
        if kind != "path":
            return (args if kind == "args" else kwargs).bool_op("@>")(sa.cast(sa.literal(text, sa.Text), JSONB))
        call = sa.func.jsonb_build_object("args", args, "kwargs", kwargs, type_=JSONB)
        # Silent about errors, as for a text where a number was expected; a predicate gives true or false.
        found = sa.func.jsonb_path_query_first(call, _path(text), _json("{}"), sa.true())
        return sa.cast(sa.func.coalesce(found, _json("false")), sa.Text).not_in(["false", "null"])

    def _state(self) -> Any:
        c = self.c
        match self.stages:
            case ("finished",):
                return c.state
            case ("running",):
                return sa.func.coalesce(c.state, states.STARTED)
            case ("held",):
                return sa.cast(states.PENDING, sa.Text)
        return sa.case((c.retries > 0, states.RETRY), else_=states.PENDING)

    def _time(self) -> Any:
        """Return the time at which a task came to its stage; of one that waits, that of its call."""
        return self.c[{"finished": "finished_at", "running": "started_at"}.get(self.stages[0], "created_at")]

    def _error(self) -> Any:
        if self.stages != ("finished",):
            return _null(sa.Text)
        return sa.case((self.c.state != states.SUCCESS, self.c.result.op("->>")("exc_type")))

    def _message(self) -> Any:
        if self.stages != ("finished",):
            return _null(sa.Text)
        return sa.case((self.c.state != states.SUCCESS, sa.cast(self.c.result.op("->")("exc_message"), sa.Text)))

    def _worker(self) -> Any:
        if "worker_id" not in self.c:
            return _null(sa.Text)
        worker = self.tables.worker.c
        return sa.select(worker.node).where(worker.id == self.c.worker_id).scalar_subquery()

    def _reason(self) -> Any:
        c = self.c
        if "barrier" not in c:
            return c.reason if "reason" in c else c.cancel if "cancel" in c else _null(sa.Text)
        barrier = self.tables.metadata.tables[f"{self.tables.metadata.schema}.barrier"].c
        tasks = sa.case((barrier.size == 1, " task"), else_=" tasks")
        words = sa.func.concat("waits for ", barrier.remaining, " of ", barrier.size, tasks)
        found = sa.select(words).where(barrier.id == c.barrier).scalar_subquery()
        limited = sa.func.concat("waits for the limit ", c.limited_by)
        unknown = "waits for a barrier that does not exist"
        return sa.case((c.limited_by.is_not(None), limited), else_=sa.func.coalesce(found, unknown))

    def _stage(self) -> Any:
        if self.stages not in (("waiting",), ("scheduled",), ("waiting", "scheduled")):
            return sa.cast(self.stages[0], sa.Text)
        return sa.case((self.c.due_at > sa.func.statement_timestamp(), "scheduled"), else_="waiting")

    def _columns(self, matches: Any, last: Any) -> list[Any]:
        c = self.c
        if self.kind is Brief:
            values = [matches, last, self._stage(), c.id, self._moment("finished_at")]
            return [value.label(name) for name, value in zip(Brief._fields, values, strict=True)]
        values = [
            matches, last, self._stage(), c.id, self._given_id(), self._state(),
            sa.cast(c.name, sa.Text), sa.cast(c.queue, sa.Text), c.priority, c.attempt, c.retries, c.crashes,
            *(self._moment(f"{name}_at") for name in ("due", "created", "started", "finished", "expires")),
            c.runtime if "runtime" in c else _null(REAL), self._worker(), _cut(c.args), _cut(c.kwargs),
            sa.func.octet_length(c.payload), self._error(), _cut(self._message()), _cut(self._reason()),
        ]  # fmt: skip
        return [value.label(name) for name, value in zip(Listed._fields, values, strict=True)]

    def _given_id(self) -> Any:
        """Return the id as its caller knows it."""
        return sa.func.coalesce(self.c.options.op("->>")("task_id"), sa.cast(self.c.id, sa.Text))

    def _moment(self, name: str) -> Any:
        """Return a time that Python can read, or null if the table has none of that name."""
        kind = TIMESTAMP(timezone=True)
        return sa.func.least(self.c[name], sa.cast(_LATEST, kind), type_=kind) if name in self.c else _null(kind)


def _arms(schema: str, wanted: Filter, order: str) -> list[_Arm]:
    """Return the tables that can hold such tasks."""
    tables = tables_of(schema)
    stages = {*(wanted.stages or STAGES)}
    if order == "ended" or wanted.errors:
        stages &= {"finished"}
    if wanted.worker is not None:
        stages &= {"running", "finished"}
    if wanted.states:
        stages -= set() if states.PENDING in wanted.states else {"held"}
        stages -= set() if {states.PENDING, states.RETRY} & {*wanted.states} else {"waiting", "scheduled"}
    waiting = tuple(stage for stage in ("waiting", "scheduled") if stage in stages)
    found: list[tuple[sa.Table, tuple[str, ...]]] = [(tables.waiting, waiting)] if waiting else []
    others = {"held": tables.held, "running": tables.running, "finished": tables.finished}
    found += [(table, (stage,)) for stage, table in others.items() if stage in stages]
    return [_Arm(tables, table, of_stages, table.c) for table, of_stages in found]


def _null(kind: Any) -> Any:
    return sa.cast(sa.null(), kind)


def _path(text: str) -> Any:
    return sa.cast(sa.literal(text, sa.Text), JSONPATH)


def _json(text: str) -> Any:
    return sa.cast(sa.literal(text, sa.Text), JSONB)


def _cut(value: Any) -> Any:
    """Return the beginning of a text or of JSON: one character more than is shown, if it is longer."""
    return sa.func.left(sa.cast(value, sa.Text), _literal(SHOWN + 1))


def _jsonb(value: Any) -> Any:
    """Return JSON in the form that can be searched, which can hold neither U+0000 nor half of a pair."""
    pattern, other = r"\\u(0000|[dD][89a-fA-F][0-9a-fA-F]{2})", r"\\ufffd"
    return sa.cast(sa.func.regexp_replace(sa.cast(value, sa.Text), pattern, other, "g"), JSONB)


def _literal(number: int) -> Any:
    """Return a number as part of the text, so that no generic plan guesses how many rows a limit lets through."""
    return sa.literal_column(str(number), sa.Integer)
