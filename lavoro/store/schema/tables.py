"""The tables in SQLAlchemy Core, for statements that are built in Python; a test compares them with the migrations."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, BYTEA, DOMAIN, JSON, JSONB, REAL, TIMESTAMP, UUID

from lavoro.store.statements import check_schema


def _time(name: str, *, default: bool = False, nullable: bool = True) -> sa.Column[object]:
    server_default = sa.text("clock_timestamp()") if default else None
    return sa.Column(name, TIMESTAMP(timezone=True), server_default=server_default, nullable=nullable and not default)


def _counters(*, default: bool = False) -> list[sa.Column[object]]:
    """The priority of a task, and the numbers of its starts, its retries and its crashes.

    A task that polls for ever is started more often than a smallint can count.
    """
    zero = sa.text("0") if default else None
    return [
        sa.Column("priority", sa.SmallInteger, nullable=False, server_default=zero),
        sa.Column("attempt", sa.Integer, nullable=False, server_default=zero),
        sa.Column("retries", sa.Integer, nullable=False, server_default=zero),
        sa.Column("crashes", sa.SmallInteger, nullable=False, server_default=zero),
    ]


def _text(name: str, *, required: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.Text, nullable=not required)


def _call() -> list[sa.Column[object]]:
    """The call itself, which every table keeps: any task can be looked into and run again."""
    return [
        _text("name", required=True),
        sa.Column("args", JSON),
        sa.Column("kwargs", JSON),
        sa.Column("options", JSON),
        sa.Column("payload", BYTEA),
    ]


_DOMAINS = (
    ("nonempty_text", ("queue", "name"), "value <> ''"),
    ("counter", ("attempt", "retries"), "value between 0 and 2000000000"),
    ("small_counter", ("crashes",), "value between 0 and 30000"),
    ("due_time", ("due_at",), "value >= '1970-01-01 00:00+00'"),
    ("past_time", ("created_at",), "value between '1970-01-01 00:00+00' and '9999-12-01 00:00+00'"),
)
"""The values that ``waiting`` accepts from any client: the domain, its columns there, and its check."""


_CHECKS = (
    "name <> ''", "task <> ''", "timing <> ''", "origin in ('code', 'api', 'sql')", "missed in ('skip', 'once', 'all')",
    "overlap in ('skip', 'allow', 'queue', 'cancel')", "missed_most > 0", "missed_age > 0", "jitter >= 0",
    "most_runs > 0", "json_typeof(args) = 'array'", "json_typeof(kwargs) = 'object'", "json_typeof(options) = 'object'",
)  # fmt: skip
"""The checks of a schedule."""


class Tables:
    """The tables of one schema: ``metadata`` holds them all, and those of tasks are attributes, too."""

    def __init__(self, schema: str = "lavoro") -> None:
        self.metadata = sa.MetaData(schema=check_schema(schema))
        self._table(
            "meta",
            sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
            _text("name", required=True),
            _time("applied_at", default=True),
        )
        self.waiting = self._waiting()
        self.held = self._held()
        self._barrier()
        self._member()
        self._table(
            "saved_group",
            sa.Column("id", UUID, primary_key=True),
            sa.Column("form", JSON, nullable=False),
            _time("saved_at", default=True),
        )
        self.running = self._running()
        self.finished = self._finished()
        self.attempt = self._attempt()
        self._table(
            "unhandled",
            sa.Column("id", UUID, primary_key=True),
            _text("name", required=True),
            _time("ended_at", default=True),
            _text("cancel"),
            sa.Column("tries", sa.SmallInteger, nullable=False, server_default=sa.text("0")),
            sa.Column("worker_id", sa.BigInteger),
        )
        self.worker = self._worker()
        self._offer()
        self._table(
            "leader",
            sa.Column("name", sa.Text, primary_key=True),
            sa.Column("term", sa.BigInteger, nullable=False),
            _text("holder", required=True),
            _time("until", nullable=False),
        )
        self._startup()
        self.queue = self._table("queue", sa.Column("name", sa.Text, primary_key=True), _time("paused_at"))
        self._table(
            "revoked",
            sa.Column("id", UUID, primary_key=True),
            _time("revoked_at", default=True),
        )
        self._schedule()
        self._tick()
        self._scheduler_entry()
        self._command()
        self._command_node()
        self._revoked_stamp()
        self.history = self._history()
        self.history_mark = self._table(
            "history_mark",
            sa.Column("one", sa.Boolean, primary_key=True, server_default=sa.text("true")),
            _time("until", nullable=False),
        )
        self.history_mark.append_constraint(sa.CheckConstraint("one"))
        self._event()
        self._limit_state()
        self._unique_key()

    def _table(self, name: str, *columns: sa.schema.SchemaItem, prefixes: Sequence[str] = ()) -> sa.Table:
        return sa.Table(name, self.metadata, *columns, prefixes=list(prefixes))

    def _domain(self, name: str, kind: sa.types.TypeEngine[object], check: str) -> DOMAIN:
        domain = DOMAIN(name, kind, check=check, metadata=self.metadata, schema=self.metadata.schema)
        vars(domain)["operator_classes"] = getattr(kind, "operator_classes", None)  # missing in SQLAlchemy 2.1
        return domain

    def _waiting(self) -> sa.Table:
        table = self._not_started("waiting", sa.Column("keys", JSONB))
        sa.Index("waiting_claim", table.c.queue, table.c.priority.desc(), table.c.due_at)
        return table

    def _held(self) -> sa.Table:
        table = self._not_started(
            "held",
            sa.Column("barrier", UUID),
            sa.Column("countdown", sa.Double),
            sa.Column("expires_in", sa.Double),
            sa.Column("keys", JSONB),
            _text("limited_by"),
        )
        sa.Index("held_expires", table.c.expires_at, postgresql_where=table.c.expires_at.is_not(None))
        sa.Index(
            "held_limited", table.c.limited_by, table.c.priority.desc(), table.c.due_at,
            postgresql_where=table.c.limited_by.is_not(None),
        )  # fmt: skip
        return table

    def _not_started(self, name: str, *more: sa.schema.SchemaItem) -> sa.Table:
        table = self._table(
            name,
            sa.Column("id", UUID, primary_key=True),
            _text("queue", required=True),
            *_counters(default=True),
            _time("due_at", default=True),
            _time("created_at", default=True),
            _time("expires_at"),
            *_call(),
            _text("reason"),
            sa.Column("barriers", JSONB),
            *more,
        )
        for domain_name, columns, check in _DOMAINS:
            domain = self._domain(domain_name, table.c[columns[0]].type, check)
            for column in columns:
                table.c[column].type = domain
        return table

    def _barrier(self) -> sa.Table:
        table = self._table(
            "barrier",
            sa.Column("id", UUID, primary_key=True),
            sa.Column("task_id", UUID, nullable=False),
            sa.Column("size", sa.Integer, nullable=False),
            sa.Column("remaining", sa.Integer, nullable=False),
            _text("policy"),
            _time("created_at", default=True),
            _time("ended_at"),
        )
        sa.Index("barrier_ended", table.c.ended_at, postgresql_where=table.c.ended_at.is_not(None))
        return table

    def _member(self) -> sa.Table:
        table = self._table(
            "member",
            sa.Column("barrier", UUID, primary_key=True),
            sa.Column("index", sa.Integer, primary_key=True, autoincrement=False),
            sa.Column("task_id", UUID, nullable=False),
            _text("state", required=True),
            sa.Column("result", JSON),
            sa.Column("result_payload", BYTEA),
        )
        sa.Index("member_failed", table.c.task_id, postgresql_where=table.c.state != sa.text("'SUCCESS'"))
        return table

    def _running(self) -> sa.Table:
        table = self._table(
            "running",
            sa.Column("id", UUID, primary_key=True),
            sa.Column("worker_id", sa.BigInteger, nullable=False),
            _text("queue", required=True),
            *_counters(),
            *(_time(name, nullable=False) for name in ("due_at", "created_at")),
            _time("started_at", default=True),
            _time("expires_at"),
            *_call(),
            _text("state"),
            sa.Column("progress", JSON),
            _text("cancel"),
            sa.Column("barriers", JSONB),
            sa.Column("keys", JSONB),
        )
        sa.Index("running_cancelled", table.c.worker_id, postgresql_where=table.c.cancel.is_not(None))
        return table

    def _finished(self) -> sa.Table:
        table = self._table(
            "finished",
            sa.Column("id", UUID, nullable=False),
            _text("state", required=True),
            sa.Column("worker_id", sa.BigInteger),
            _text("queue", required=True),
            *_counters(),
            sa.Column("runtime", REAL),
            *(_time(name, nullable=False) for name in ("due_at", "created_at")),
            _time("started_at"),
            _time("finished_at", default=True),
            *_call(),
            sa.Column("result", JSON),
            sa.Column("result_payload", BYTEA),
            sa.Column("children", JSON),
            _text("traceback"),
            sa.Column("keys", JSONB),
        )
        sa.Index("finished_id", table.c.id)
        sa.Index("finished_ended", table.c.finished_at.nulls_first())
        return table

    def _attempt(self) -> sa.Table:
        table = self._table(
            "attempt",
            sa.Column("id", UUID, nullable=False),
            sa.Column("number", sa.Integer, nullable=False),
            sa.Column("worker_id", sa.BigInteger),
            _text("state", required=True),
            _time("started_at"),
            _time("ended_at", default=True),
            _text("reason"),
            sa.Column("error", JSON),
            _text("traceback"),
            sa.Column("heir", UUID),
        )
        sa.Index("attempt_id", table.c.id)
        sa.Index("attempt_ended", table.c.ended_at)
        return table

    def _worker(self) -> sa.Table:
        table = self._table(
            "worker",
            sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
            _text("node", required=True),
            sa.Column("process", sa.Integer, nullable=False),
            _text("host", required=True),
            sa.Column("pid", sa.Integer, nullable=False),
            _text("pool", required=True),
            sa.Column("slots", sa.Integer, nullable=False),
            sa.Column("queues", ARRAY(sa.Text), nullable=False),
            _text("release", required=True),
            sa.Column("lease", sa.Interval, nullable=False),
            _time("started_at", default=True),
            _time("seen_at", default=True),
            _time("expires_at", nullable=False),
            _time("stopped_at"),
            _text("end_reason"),
            sa.Column("quiet", sa.Boolean, nullable=False, server_default=sa.text("false")),
            sa.Column("live", sa.Boolean, sa.Computed("stopped_at is null", persisted=True)),
            sa.Column("tasks", ARRAY(sa.Text), nullable=False, server_default=sa.text("'{}'")),
            sa.Column("runs_schedules", sa.Boolean, nullable=False, server_default=sa.text("false")),
            sa.Column("task_events", sa.Boolean, nullable=False, server_default=sa.text("false")),
        )
        sa.Index("worker_live", table.c.expires_at, postgresql_where=table.c.stopped_at.is_(None))
        return table

    def _offer(self) -> sa.Table:
        table = self._table(
            "offer",
            _text("queue", required=True),
            _time("until", nullable=False),
            sa.Column("worker_id", sa.BigInteger, nullable=False),
            prefixes=["UNLOGGED"],
        )
        sa.Index("offer_open", table.c.queue, table.c.until)
        return table

    def _schedule(self) -> sa.Table:
        table = self._table(
            "schedule",
            sa.Column("name", sa.Text, primary_key=True),
            sa.Column("origin", sa.Text, nullable=False, server_default="sql"),
            _text("app"),
            _text("task", required=True),
            sa.Column("args", JSON),
            sa.Column("kwargs", JSON),
            sa.Column("options", JSON),
            _text("timing", required=True),
            _text("zone"),
            sa.Column("in_code", sa.Boolean, nullable=False, server_default=sa.text("false")),
            sa.Column("missed", sa.Text, nullable=False, server_default="once"),
            sa.Column("missed_most", sa.Integer, nullable=False, server_default=sa.text("100")),
            sa.Column("missed_age", sa.Double),
            sa.Column("overlap", sa.Text, nullable=False, server_default="skip"),
            sa.Column("jitter", sa.Double, nullable=False, server_default=sa.text("0")),
            _time("starts_at"),
            _time("ends_at"),
            sa.Column("most_runs", sa.Integer),
            _time("paused_at"),
            _time("defined_at", default=True),
            _time("since", default=True),
            _time("next_at"),
            sa.Column("due_at", TIMESTAMP(timezone=True), server_default="1970-01-01 00:00+00"),
            _time("last_at"),
            sa.Column("last_task_id", UUID),
            sa.Column("runs", sa.BigInteger, nullable=False, server_default=sa.text("0")),
            sa.Column("skips", sa.BigInteger, nullable=False, server_default=sa.text("0")),
            _text("error"),
        )
        for check in _CHECKS:
            table.append_constraint(sa.CheckConstraint(check))
        sa.Index("schedule_due", table.c.due_at, postgresql_where=table.c.paused_at.is_(None))
        return table

    def _tick(self) -> sa.Table:
        table = self._table(
            "tick",
            sa.Column("schedule", sa.Text, primary_key=True),
            sa.Column("due_at", TIMESTAMP(timezone=True), primary_key=True),
            _time("until_at"),
            sa.Column("times", sa.Integer, server_default=sa.text("1")),
            _text("outcome", required=True),
            sa.Column("late", sa.Boolean, nullable=False, server_default=sa.text("false")),
            _text("reason"),
            sa.Column("task_id", UUID),
            _time("recorded_at", default=True),
        )
        table.append_constraint(sa.CheckConstraint("outcome in ('sent', 'skipped', 'failed')"))
        sa.Index("tick_recorded", table.c.recorded_at)
        return table

    def _startup(self) -> sa.Table:
        return self._table(
            "startup",
            sa.Column("application", sa.Text, primary_key=True),
            sa.Column("release", sa.Text, primary_key=True),
            sa.Column("name", sa.Text, primary_key=True),
            sa.Column("worker_id", sa.BigInteger, nullable=False),
            _time("started_at", default=True),
            _time("ended_at"),
        )

    def _scheduler_entry(self) -> sa.Table:
        return self._table(
            "scheduler_entry",
            sa.Column("app", sa.Text, primary_key=True),
            sa.Column("name", sa.Text, primary_key=True),
            _time("last_at", nullable=False),
            sa.Column("runs", sa.BigInteger, nullable=False),
        )

    def _command(self) -> sa.Table:
        table = self._table(
            "command",
            sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
            _text("name", required=True),
            sa.Column("arguments", JSON, nullable=False, server_default="{}"),
            _text("sender", required=True),
            sa.Column("session", sa.Text, nullable=False, server_default=sa.text("session_user")),
            _time("sent_at", default=True),
            _time("expires_at", nullable=False),
        )
        table.append_constraint(sa.CheckConstraint("name <> ''"))
        table.append_constraint(sa.CheckConstraint("json_typeof(arguments) = 'object'"))
        sa.Index("command_sent", table.c.sent_at)
        return table

    def _command_node(self) -> sa.Table:
        table = self._table(
            "command_node",
            sa.Column("command_id", sa.BigInteger, primary_key=True, autoincrement=False),
            sa.Column("node", sa.Text, primary_key=True),
            _time("taken_at"),
            _time("replied_at"),
            sa.Column("reply", JSON),
        )
        sa.Index("command_open", table.c.node, postgresql_where=table.c.taken_at.is_(None))
        return table

    def _revoked_stamp(self) -> sa.Table:
        return self._table(
            "revoked_stamp",
            sa.Column("header", sa.Text, primary_key=True),
            sa.Column("value", JSONB, primary_key=True),
            _time("revoked_at", default=True),
        )

    def _history(self) -> sa.Table:
        table = self._table(
            "history",
            sa.Column("period", sa.Text, primary_key=True),
            sa.Column("bucket", TIMESTAMP(timezone=True), primary_key=True),
            *(sa.Column(name, sa.Text, primary_key=True) for name in ("queue", "name", "state")),
            *(sa.Column(name, sa.BigInteger, nullable=False) for name in ("tasks", "retries", "crashes")),
            *(sa.Column(name, sa.Double, nullable=False) for name in ("runtime", "waited")),
            sa.Column("longest", REAL, nullable=False),
        )
        table.append_constraint(sa.CheckConstraint("period in ('minute', 'hour', 'day')"))
        return table

    def _event(self) -> sa.Table:
        table = self._table(
            "event",
            sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
            _text("type", required=True),
            sa.Column("fields", JSON, nullable=False, server_default="{}"),
            _time("sent_at", default=True),
            prefixes=["UNLOGGED"],
        )
        table.append_constraint(sa.CheckConstraint("type <> ''"))
        table.append_constraint(sa.CheckConstraint("json_typeof(fields) = 'object'"))
        sa.Index("event_sent", table.c.sent_at)
        return table

    def _limit_state(self) -> None:
        table = self._table(
            "limit_state",
            sa.Column("key", sa.Text, primary_key=True),
            sa.Column("running", sa.Integer),
            sa.Column("rate", sa.Integer),
            sa.Column("per", sa.Double),
            sa.Column("burst", sa.Integer),
            sa.Column("fixed", sa.Boolean, nullable=False, server_default=sa.text("false")),
            _time("paused_until"),
            sa.Column("taken", sa.Integer, nullable=False, server_default=sa.text("0")),
            sa.Column("paid_until", TIMESTAMP(timezone=True), nullable=False, server_default="1970-01-01 00:00+00"),
            sa.Column("holds", sa.Boolean, nullable=False, server_default=sa.text("false")),
            _time("used_at", default=True),
        )
        sa.Index("limit_holds", table.c.key, postgresql_where=table.c.holds)

    def _unique_key(self) -> None:
        table = self._table(
            "unique_key",
            sa.Column("key", sa.Text, primary_key=True),
            sa.Column("task_id", UUID, nullable=False),
            _text("until", required=True),
            _time("expires_at"),
            _time("created_at", default=True),
        )
        sa.Index("unique_key_expires", table.c.expires_at, postgresql_where=table.c.expires_at.is_not(None))


tables_of = lru_cache(maxsize=16)(Tables)
"""The tables of a schema, built once."""
