"""What may be wrong with a database that Lavoro works in, and how to repair it; nothing is changed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from lavoro.store.notifications import Back, write
from lavoro.store.schema import partitions, roles
from lavoro.store.schema.drift import differences
from lavoro.store.schema.migrate import UTF8_DATABASE, encoding_of, migrations, version_of
from lavoro.store.statements import render
from lavoro.store.tx import Row, Tx
from lavoro.text.commands import command
from lavoro.text.plural import counted


class Finding(NamedTuple):
    """Something that is wrong, or soon will be."""

    check: str
    """What was looked at, in a word."""
    which: str
    """The table, queue, worker or session it is about."""
    problem: str
    repair: str
    """A command, or SQL; what begins with ``--`` is advice."""


@dataclass(frozen=True, kw_only=True)
class Exam:
    """What the doctor has to know, and from when on something counts as wrong. Durations are in seconds."""

    tx: Tx
    retention: Mapping[str, float | None]
    pooled: bool = False
    direct_url: str | None = None
    patience: float = 300.0
    """How old a snapshot or prepared transaction may be."""
    backlog: float = 60.0
    """How long a due task may wait on a queue that nobody serves."""
    skew: float = 2.0
    """How far this machine's clock may be from the database's."""
    full: float = 0.8
    """The part of the server's connections that may be in use."""
    clock: Callable[[], float] = time.time

    def rows(self, query: str, **parameters: Any) -> list[Row]:
        """Run a query, in which ``{schema}`` is the schema."""
        text = render(query, self.tx.schema).encode()
        return self.tx.cursor.execute(text, parameters).fetchall()


def examine(exam: Exam) -> list[Finding]:
    """Make all checks; of a schema that is not this release's, only that is told."""
    outdated = list(_version(exam))
    if outdated:
        return outdated
    return [finding for check in CHECKS for finding in check(exam)]


def unseen(exam: Exam) -> list[str]:
    """List what the connected user may not see, so that nothing was found there."""
    [[allowed]] = exam.rows("select pg_has_role('pg_read_all_stats', 'usage')")
    return [] if allowed else ["the sessions of other users: grant pg_read_all_stats to the user that asks"]


def examine_role(exam: Exam, role: str) -> list[Finding]:
    """Compare the connected user's rights with those of a role."""
    [[user, quoted]] = exam.rows("select current_user::text, quote_ident(current_user)")
    group, schema = roles.role_name(exam.tx.schema, role), exam.tx.schema
    wanted = roles.rights(role)
    has = roles.held(exam.tx, wanted)
    lacks = [right for right in wanted if right not in has]
    return [
        *(
            Finding("role", user, f"lacks {right.words} on {right.on(schema)}, which a {role} needs", _GRANT.format(
                command=command("migrate", "--roles"), group=group, user=quoted))
            for right in lacks
        ),
        *(
            Finding("role", user, f"has {right.words} on {right.on(schema)}, which a {role} must not", _REVOKE.format(
                user=user, group=group))
            for right in roles.held(exam.tx, roles.excluded(role))
        ),
    ]  # fmt: skip


_GRANT = "grant {group} to {user};  -- the role is made by: {command}"
_REVOKE = "-- use a user that is a member of {group} alone: {user} has more rights, or owns the tables"


# The schema


def _version(exam: Exam) -> Iterator[Finding]:
    found, latest = version_of(exam.tx), migrations()[-1][0]
    if found < latest:
        problem = f"is at version {found}, this release needs {latest}" if found else "has no tables of Lavoro's"
        yield Finding("schema", exam.tx.schema, problem, command("migrate"))
    elif found > latest:
        problem = f"is at version {found}, made by a later release than this one, which knows {latest}"
        yield Finding("schema", exam.tx.schema, problem, "pip install --upgrade lavoro")


def _encoding(exam: Exam) -> Iterator[Finding]:
    name, encoding = encoding_of(exam.tx)
    if encoding != "UTF8":
        problem = f"has the encoding {encoding}: tasks with texts that it cannot hold are refused"
        repair = f"-- move to a database of another: {UTF8_DATABASE.replace('NAME', 'shop')};"
        yield Finding("encoding", name, problem, repair)


def _drift(exam: Exam) -> Iterator[Finding]:
    for difference in differences(exam.tx):
        yield Finding("schema", *difference)


def _invalid_indexes(exam: Exam) -> Iterator[Finding]:
    query = """
        select i.indexrelid::regclass::text, i.indrelid::regclass::text, c.relkind = 'I'
        from pg_index i join pg_class c on c.oid = i.indexrelid
        where c.relnamespace = '{schema}'::regnamespace and not (i.indisvalid and i.indisready) order by 1"""
    for index, table, partitioned in exam.rows(query):
        yield Finding(
            "index", index, f"is invalid: {table} is searched without it, and writing may be slowed by it all the same",
            f"reindex index {'' if partitioned else 'concurrently '}{index};",
        )  # fmt: skip


# What keeps vacuum from cleaning up


def _held_snapshots(exam: Exam) -> Iterator[Finding]:
    query = """
        select pid, coalesce(usename, '?'), coalesce(nullif(application_name, ''), '?'), state,
            extract(epoch from clock_timestamp() - xact_start)::float8,
            greatest(age(backend_xmin), age(backend_xid))
        from pg_stat_activity
        where datname = current_database() and backend_type = 'client backend' and pid <> pg_backend_pid()
            and coalesce(backend_xmin, backend_xid) is not null
            and xact_start < clock_timestamp() - %(patience)s::float8 * interval '1 second'
        order by xact_start"""
    for pid, user, application, state, seconds, age in exam.rows(query, patience=exam.patience):
        yield Finding(
            "snapshot", f"session {pid} of {user} ({application})",
            f"is {state} in a transaction of {seconds:.0f} s, {counted(age, 'transaction')} old: {_BLOAT}",
            f"select pg_terminate_backend({pid});",
        )  # fmt: skip


_BLOAT = "what was deleted since cannot be cleaned up, so tables grow and claims get slower"


def _slots(exam: Exam) -> Iterator[Finding]:
    query = "select slot_name, age(xmin) from pg_replication_slots where xmin is not null and not active"
    for name, age in exam.rows(query):
        yield Finding(
            "snapshot", f"replication slot {name}", f"is not in use and {counted(age, 'transaction')} old: {_BLOAT}",
            f"select pg_drop_replication_slot({_literal(name)});",
        )  # fmt: skip


def _prepared_transactions(exam: Exam) -> Iterator[Finding]:
    query = """
        select gid, owner, extract(epoch from clock_timestamp() - prepared)::float8, age(transaction)
        from pg_prepared_xacts where database = current_database()
            and prepared < clock_timestamp() - %(patience)s::float8 * interval '1 second'
        order by prepared"""
    for gid, owner, seconds, age in exam.rows(query, patience=exam.patience):
        yield Finding(
            "snapshot", f"prepared transaction {gid} of {owner}",
            f"was left for {seconds:.0f} s, {counted(age, 'transaction')}: it holds its locks, and {_BLOAT}",
            f"rollback prepared {_literal(gid)};  -- or commit prepared, if its other half was committed",
        )  # fmt: skip


# The server


def _durability(exam: Exam) -> Iterator[Finding]:
    query = """
        select name from pg_settings
        where name in ('fsync', 'full_page_writes', 'synchronous_commit') and setting = 'off' order by name"""
    for (name,) in exam.rows(query):
        yield Finding(
            "durability", name, "is off: a crash of the server can lose tasks that were reported as stored",
            f"alter system set {name} = on; select pg_reload_conf();",
        )  # fmt: skip


def _clock_skew(exam: Exam) -> Iterator[Finding]:
    before = exam.clock()
    [[theirs]] = exam.rows("select extract(epoch from clock_timestamp())::float8")
    after = exam.clock()
    skew = theirs - (before + after) / 2
    if abs(skew) > exam.skew + (after - before):
        yield Finding(
            "clock", "this machine",
            f"is {abs(skew):.1f} s {'behind' if skew > 0 else 'ahead of'} the database: an eta that is computed"
            " here is met so much too early or too late (countdown and leases are not touched by it)",
            "-- let both machines ask the same time server (chrony, systemd-timesyncd)",
        )  # fmt: skip


def _future_times(exam: Exam) -> Iterator[Finding]:
    """Tasks that were stored in the future, before the clock was set back."""
    query = """
        select count(*), extract(epoch from max(created_at) - clock_timestamp())::float8,
            count(*) filter (where due_at <= created_at)
        from {schema}.waiting where created_at > clock_timestamp()"""
    [[tasks, seconds, at_once]] = exam.rows(query)
    if tasks:
        yield Finding(
            "clock", "waiting",
            f"{counted(tasks, 'task was', 'tasks were')} stored up to {seconds:.0f} s in the future, because"
            f" the database's clock was set back; {counted(at_once, 'is', 'are')} due at once, and must wait until a"
            " worker starts or notices the change; the others keep their time",
            command("worker") if at_once else _OTHERS,
        )  # fmt: skip


_OTHERS = "-- nothing, or revoke those that would start too late; let a time server keep the database's clock"


def _connections(exam: Exam) -> Iterator[Finding]:
    query = """
        select (select count(*) from pg_stat_activity where backend_type = 'client backend'),
            current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
                - coalesce(current_setting('reserved_connections', true)::int, 0),
            (select count(distinct node) * 2 + count(*) * 2 from {schema}.worker
                where stopped_at is null and expires_at > clock_timestamp())"""
    [[used, most, workers]] = exam.rows(query)
    if used > exam.full * most:
        yield Finding(
            "connections", "max_connections",
            f"{used} of {most} connections are in use; Lavoro's live workers need {workers} of them, besides what"
            " their tasks open",
            f"alter system set max_connections = {2 * most};  -- and restart; or a pooler, or smaller pools"
            " (broker_pool_limit, and the applications' own)",
        )  # fmt: skip


def _pooler(exam: Exam) -> Iterator[Finding]:
    if exam.pooled and exam.direct_url is None:
        yield Finding(
            "pooler", "lavoro_direct_url",
            "is not set, and the pooler passes no notifications on: workers and get() poll, and start later",
            "-- set lavoro_direct_url to the server's own address, past the pooler",
        )  # fmt: skip


# Queues and workers


def _no_worker(exam: Exam) -> Iterator[Finding]:
    query = """
        select (select count(*) from {schema}.waiting)
        where not exists (select from {schema}.worker where stopped_at is null and expires_at > clock_timestamp())"""
    for (count,) in exam.rows(query):
        waiting = f", and {_waiting(count)}" if count else ""
        yield Finding("worker", "none", f"is alive: no task starts{waiting}", command("worker"))


def _waiting(count: int) -> str:
    return counted(count, "task waits", "tasks wait")


def _unserved_queues(exam: Exam) -> Iterator[Finding]:
    query = """
        select w.queue, count(*), extract(epoch from clock_timestamp() - min(w.due_at))::float8 from {schema}.waiting w
        where w.due_at <= clock_timestamp()
            and not exists (select from {schema}.queue q where q.name = w.queue and q.paused_at is not null)
            and not exists (select from {schema}.worker l
                where l.stopped_at is null and l.expires_at > clock_timestamp() and w.queue = any (l.queues))
        group by w.queue having min(w.due_at) < clock_timestamp() - %(backlog)s::float8 * interval '1 second'
        order by w.queue"""
    for queue, count, seconds in exam.rows(query, backlog=exam.backlog):
        yield Finding(
            "queue", queue, f"{_waiting(count)}, the oldest for {seconds:.0f} s, and no live worker serves it",
            command("worker", "-Q", queue),
        )  # fmt: skip


def _paused_queues(exam: Exam) -> Iterator[Finding]:
    query = """
        select q.name, extract(epoch from clock_timestamp() - q.paused_at)::float8,
            (select count(*) from {schema}.waiting w where w.queue = q.name)
        from {schema}.queue q where q.paused_at is not null order by q.name"""
    for queue, seconds, count in exam.rows(query):
        repair = render(_RESUME, exam.tx.schema).format(name=_literal(queue), woken=_literal(write(Back(queue))))
        yield Finding("queue", queue, f"has been paused for {seconds:.0f} s; {_waiting(count)} on it", repair)


_RESUME = "update {schema}.queue set paused_at = null where name = {name}; select pg_notify('{prefix}_wake', {woken});"


def _silent_workers(exam: Exam) -> Iterator[Finding]:
    """Leases are renewed long before half of them is over, short or long: if not, it is no chance."""
    query = """
        select node || '/' || process, host, pid, extract(epoch from clock_timestamp() - seen_at)::float8,
            expires_at < clock_timestamp(), (select count(*) from {schema}.running r where r.worker_id = w.id)
        from {schema}.worker w where stopped_at is null and clock_timestamp() > seen_at + (expires_at - seen_at) / 2
        order by 1"""
    for worker, host, pid, seconds, over, held in exam.rows(query):
        if over:
            state = "its lease has run out, and no other node is there to take its tasks over"
            repair = command("worker")
        else:
            state = "its lease runs out soon"
            repair = f"-- look at process {pid} on {host} and its way to the database"
        problem = f"has not renewed its lease for {seconds:.0f} s and holds {counted(held, 'task')}: {state}"
        yield Finding("worker", worker, problem, repair)


def _orphans(exam: Exam) -> Iterator[Finding]:
    query = """
        select r.worker_id, count(*) from {schema}.running r
        where r.started_at < clock_timestamp() - interval '5 minutes'
            and not exists (select from {schema}.worker w where w.id = r.worker_id and w.stopped_at is null)
        group by r.worker_id order by 1"""
    for worker_id, count in exam.rows(query):
        yield Finding(
            "worker", str(worker_id), f"is gone and still holds {counted(count, 'task')}: no node gives them back",
            command("worker"),
        )  # fmt: skip


# Retention


def _partitions(exam: Exam) -> Iterator[Finding]:
    for table, kept in exam.retention.items():
        if kept is not None:
            yield from _partitions_ahead(exam, table, kept)
            yield from _partitions_behind(exam, table, kept)


_NEXT_LOOK = 3600.0
"""Workers look every ten minutes: what is late by so many seconds is not being looked after."""


def _partitions_ahead(exam: Exam, table: str, kept: float) -> Iterator[Finding]:
    """Workers make two periods ahead."""
    ends = [partition.ends for partition in partitions.partitions_of(exam.tx, table)]
    last = max(ends, default=None)
    [[missing]] = exam.rows(
        "select coalesce(%(last)s::timestamptz < clock_timestamp() + %(span)s::float8 * interval '1 second', true)",
        last=last, span=partitions.period(kept),
    )  # fmt: skip
    if missing:
        until = f"the last partition ends {last:%Y-%m-%d %H:%M %Z}" if last else "there is no partition"
        problem = f"{until}: what comes later is deleted row by row, not dropped"
        yield Finding("partition", table, problem, f"{command('migrate')}  # a running worker does it, too")


def _partitions_behind(exam: Exam, table: str, kept: float) -> Iterator[Finding]:
    query = """
        select partition from unnest(%(names)s::text[], %(ends)s::timestamptz[]) as p (partition, ends)
        where ends < clock_timestamp() - %(late)s::float8 * interval '1 second' order by ends"""
    found = partitions.partitions_of(exam.tx, table)
    names, ends = [partition.name for partition in found], [partition.ends for partition in found]
    for (name,) in exam.rows(query, names=names, ends=ends, late=kept + _NEXT_LOOK):
        repair = render(f"select {{schema}}.drop_partition({_literal(name)});", exam.tx.schema)
        yield Finding("partition", name, "is past its retention and was not dropped", repair)


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


CHECKS: Sequence[Callable[[Exam], Iterator[Finding]]] = (
    _encoding, _drift, _invalid_indexes, _held_snapshots, _slots, _prepared_transactions, _durability, _clock_skew,
    _future_times, _connections, _pooler, _no_worker, _unserved_queues, _paused_queues, _silent_workers, _orphans,
    _partitions,
)  # fmt: skip
