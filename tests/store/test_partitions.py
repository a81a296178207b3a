"""Retention: partitions for what comes, none for what is too old, and nobody waits for either."""

from __future__ import annotations

import datetime as dt
import itertools
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from lavoro.protocol.ids import uuid7
from lavoro.store import tasks, workers
from lavoro.store.database import Database
from lavoro.store.errors import LOST
from lavoro.store.schema import partitions
from lavoro.store.schema.partitions import (
    DAY,
    DEFAULT_RETENTION,
    Partition,
    drop_behind,
    make_ahead,
    partitions_of,
    period,
)
from lavoro.store.tx import Tx
from tests.conftest import Eventually
from tests.store.walk import registered, rows, sent_and_taken, succeeded, value

TABLES = list(DEFAULT_RETENTION)
ONE = {"finished_success": DAY}
SPAN = dt.timedelta(seconds=period(DAY))


@pytest.fixture
def database(migrated_url: str) -> Database:
    """A database of its own: what is made and dropped here is not for other tests."""
    return Database(migrated_url)


@pytest.fixture
def bare(tx: Tx) -> Tx:
    """Without any partition but those for what fits nowhere else; there is a worker 1."""
    registered(tx)
    for table in TABLES:
        for partition in partitions_of(tx, table):
            tx.cursor.execute(f'drop table lavoro."{partition.name}"'.encode())
    return tx


def now(tx: Tx) -> dt.datetime:
    return value(tx, "select clock_timestamp()").astimezone(dt.timezone.utc)


def finish_at(tx: Tx, moment: dt.datetime, *, state: str = "SUCCESS") -> str:
    """Store an outcome of that time; return the partition it came into."""
    query = """
        insert into lavoro.finished
            (id, state, queue, priority, attempt, retries, crashes, due_at, created_at, name, finished_at)
        values (%s, %s, 'celery', 0, 1, 0, 0, now(), now(), 'a.b', %s) returning tableoid::regclass::text"""
    return str(value(tx, query, uuid7(), state, moment)).removeprefix("lavoro.")


def make_at(tx: Tx, begins: dt.datetime, ends: dt.datetime, table: str = "finished_success") -> str:
    name = partitions.make(tx, table, begins, ends)
    assert name is not None
    return name


@pytest.mark.parametrize(
    ("retention", "seconds"), [(60, 3600), (14_400, 3600), (DAY, DAY / 4), (28 * DAY, 7 * DAY), (3650 * DAY, 7 * DAY)]
)
def test_a_partition_spans_a_quarter_of_the_retention(retention: float, seconds: float) -> None:
    assert period(retention) == seconds


# Ahead


@pytest.mark.parametrize("table", TABLES)
def test_now_and_two_periods_after_are_covered_without_gaps(bare: Tx, table: str) -> None:
    retention = DEFAULT_RETENTION[table]
    span, before = dt.timedelta(seconds=period(retention)), now(bare)
    made = make_ahead(bare, {table: retention})
    found = partitions_of(bare, table)
    assert [partition.name for partition in found] == made
    assert found[0].ends - span <= before < found[0].ends
    assert [later.ends - earlier.ends for earlier, later in itertools.pairwise(found)] == [span] * (len(found) - 1)
    assert found[-1].ends >= before + 2 * span


def test_what_is_there_is_not_made_again(bare: Tx) -> None:
    assert make_ahead(bare)
    assert make_ahead(bare) == []


def test_outcomes_come_into_the_partition_of_their_time(bare: Tx) -> None:
    [first, *_] = make_ahead(bare, ONE)
    assert finish_at(bare, now(bare)) == first
    assert finish_at(bare, now(bare) - 10 * SPAN) == "finished_success_rest"
    assert finish_at(bare, now(bare), state="FAILURE") == "finished_failure_rest"


def test_new_partitions_have_the_indexes(bare: Tx) -> None:
    for name in make_ahead(bare):
        definitions = "select pg_get_indexdef(indexrelid) from pg_index where indrelid = %s::regclass order by 1"
        found = [definition.partition(" USING btree ")[2] for [definition] in rows(bare, definitions, f"lavoro.{name}")]
        assert found == ["(ended_at)" if name.startswith("attempt") else "(finished_at NULLS FIRST)", "(id)"]


def test_another_period_goes_on_where_the_former_ends(bare: Tx) -> None:
    make_ahead(bare, {"finished_success": DAY})
    last = partitions_of(bare, "finished_success")[-1]
    assert make_ahead(bare, {"finished_success": 4 * 3600.0}) == []  # the former reaches further
    week = 28 * DAY
    [first, *_] = make_ahead(bare, {"finished_success": week})
    assert first == f"finished_success_{last.ends.astimezone(dt.timezone.utc):%Y%m%dt%H%M%S}"
    assert partitions_of(bare, "finished_success")[-1].ends >= now(bare) + dt.timedelta(days=14)


def test_after_a_long_silence_a_new_row_of_partitions_begins(bare: Tx) -> None:
    moment = now(bare)
    old = make_at(bare, moment - dt.timedelta(days=90), moment - dt.timedelta(days=89))
    made = make_ahead(bare, ONE)
    assert old not in made
    assert finish_at(bare, now(bare)) == made[0]


def test_rows_that_fit_nowhere_are_no_obstacle(bare: Tx) -> None:
    """Outcomes that came while there was no partition for them keep the partition of this period from being made."""
    assert finish_at(bare, now(bare)) == "finished_success_rest"
    made = make_ahead(bare, ONE)
    [first, *_] = partitions_of(bare, "finished_success")
    assert len(made) == 2
    assert now(bare) < first.ends - SPAN <= now(bare) + SPAN
    assert make_ahead(bare, ONE) == []
    assert finish_at(bare, now(bare)) == "finished_success_rest"
    assert finish_at(bare, first.ends - SPAN) == made[0]


def test_two_nodes_at_once(bare: Tx, opened: Callable[[], Tx]) -> None:
    made: list[str] = []
    start = threading.Barrier(4)

    def work(own: Tx) -> None:
        start.wait(30)
        made.extend(make_ahead(own))

    threads = [threading.Thread(target=work, args=(opened(),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    make_ahead(bare)  # one of them may have been too impatient
    assert len(made) == len(set(made))
    for table in TABLES:
        assert partitions_of(bare, table)[-1].ends >= now(bare)


def test_bounds_are_read_in_any_time_zone_and_style(bare: Tx) -> None:
    make_ahead(bare, ONE)
    found = partitions_of(bare, "finished_success")
    for setting in ("timezone = 'Asia/Kathmandu'", "timezone = 'America/New_York'", "datestyle = 'SQL, DMY'"):
        bare.cursor.execute(f"set {setting}".encode())
        assert partitions_of(bare, "finished_success") == found
        assert make_ahead(bare, ONE) == []


# Behind


def test_partitions_that_are_too_old_are_dropped(bare: Tx) -> None:
    moment = now(bare)
    old = make_at(bare, moment - dt.timedelta(days=3), moment - dt.timedelta(days=2))
    kept = make_at(bare, moment - dt.timedelta(days=2), moment - dt.timedelta(hours=23))
    finish_at(bare, moment - dt.timedelta(days=2.5))
    finish_at(bare, moment - dt.timedelta(days=1.5))
    assert drop_behind(bare, {"finished_success": DAY, "finished_failure": DAY, "attempt": DAY}) == [old]
    assert [partition.name for partition in partitions_of(bare, "finished_success")] == [kept]
    assert value(bare, "select count(*) from lavoro.finished") == 1


def test_none_keeps_for_ever(bare: Tx) -> None:
    moment = now(bare)
    make_at(bare, moment - dt.timedelta(days=900), moment - dt.timedelta(days=899))
    finish_at(bare, moment - dt.timedelta(days=1000))
    assert drop_behind(bare, {"finished_success": None}) == []
    assert value(bare, "select count(*) from lavoro.finished") == 1


def test_each_kind_has_its_own_retention(bare: Tx) -> None:
    moment = now(bare)
    for table in TABLES:
        make_at(bare, moment - dt.timedelta(days=10), moment - dt.timedelta(days=9), table)
    dropped = drop_behind(bare, DEFAULT_RETENTION)
    assert [name.rpartition("_")[0] for name in dropped] == ["finished_success"]


def test_what_fits_nowhere_is_deleted_when_it_is_too_old(bare: Tx) -> None:
    finish_at(bare, now(bare) - dt.timedelta(days=1.1))
    finish_at(bare, now(bare) - dt.timedelta(days=0.9))
    query = (
        "insert into lavoro.attempt (id, number, state, ended_at) values (%s, 1, 'LOST', now() - interval '31 days')"
    )
    bare.cursor.execute(query, (uuid7(),))
    assert drop_behind(bare, DEFAULT_RETENTION) == []
    assert value(bare, "select count(*) from lavoro.finished_success_rest") == 1
    assert value(bare, "select count(*) from lavoro.attempt") == 0


# A reader that keeps its lock


def test_nobody_waits_for_long_where_a_reader_holds_a_lock(bare: Tx, opened: Callable[[], Tx]) -> None:
    moment, reader = now(bare), opened()
    old = make_at(bare, moment - dt.timedelta(days=3), moment - dt.timedelta(days=2))
    older = make_at(bare, moment - dt.timedelta(days=4), moment - dt.timedelta(days=3))
    with reader.connection.transaction():
        rows(reader, "select * from lavoro.finished")
        assert drop_behind(bare, ONE) == []
        assert make_ahead(bare, ONE) == []
        job = sent_and_taken(bare)
        assert tasks.finish(bare, 1, [succeeded(job)]) == 1
    assert drop_behind(bare, ONE) == [older, old]
    assert make_ahead(bare, ONE)


def test_a_reader_of_one_table_does_not_keep_the_others_from_theirs(bare: Tx, opened: Callable[[], Tx]) -> None:
    reader = opened()
    with reader.connection.transaction():
        rows(reader, "select * from lavoro.finished_success")
        made = make_ahead(bare)
    assert {name.rpartition("_")[0] for name in made} == {"finished_failure", "attempt"}
    assert isinstance(partitions_of(bare, "attempt")[0], Partition)


def test_a_node_that_comes_while_another_is_at_it_leaves_it_to_that_one(bare: Tx, opened: Callable[[], Tx]) -> None:
    other = opened()
    with other.connection.transaction():
        rows(other, "select pg_advisory_xact_lock(hashtextextended('lavoro_partitions', 0))")
        assert make_ahead(bare) == []
    assert make_ahead(bare)


def test_a_partition_that_another_node_has_dropped_meanwhile(
    bare: Tx, opened: Callable[[], Tx], until_it_waits: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The leader may have slept: the partitions to drop are chosen when it has the lock."""
    monkeypatch.setattr(partitions, "_PATIENCE", "60s")
    moment, other = now(bare), opened()
    old = make_at(bare, moment - dt.timedelta(days=3), moment - dt.timedelta(days=2))
    bare.connection.execute("set application_name = 'late'")
    with ThreadPoolExecutor() as threads:
        with other.connection.transaction():
            rows(other, "select pg_advisory_xact_lock(hashtextextended('lavoro_partitions', 0))")
            late = threads.submit(drop_behind, bare, ONE)
            until_it_waits("late")
            rows(other, "select lavoro.drop_partition(%s)", old)
        assert late.result(60) == []


def test_a_node_that_is_stopped_in_the_middle_keeps_no_lock(
    bare: Tx, opened: Callable[[], Tx], monkeypatch: pytest.MonkeyPatch, eventually: Eventually
) -> None:
    monkeypatch.setattr(partitions, "_IDLE", "200ms")
    moment, other = now(bare), opened()
    old = make_at(bare, moment - dt.timedelta(days=3), moment - dt.timedelta(days=2))

    class Stopped(Tx):
        """Stops between dropping a partition and committing that."""

        def run(self, name: str, parameters: Any = None) -> list[Any]:
            found = super().run(name, parameters)
            if name == "drop_old_partition":
                eventually(lambda: drop_behind(other, ONE) == [old], why="another may")
            return found

    with pytest.raises(LOST):
        drop_behind(Stopped(bare.connection, bare.schema), ONE)


def test_partitions_are_not_vacuumed_because_they_grew(tx: Tx) -> None:
    """They are dropped as a whole: to vacuum them would read all outcomes once more, beside the work."""
    make_ahead(tx, dict(DEFAULT_RETENTION))
    query = (
        "select distinct reloptions from pg_class where relname ~ '^(finished|attempt).*_[0-9]{8}t' and relkind = 'r'"
    )
    assert rows(tx, query) == [(["autovacuum_vacuum_insert_threshold=-1"],)]


def test_every_table_has_a_replica_identity(tx: Tx) -> None:
    """Else nothing can be deleted in it, or changed, where all tables are published for logical replication."""
    query = """
        select relname from pg_class c where relnamespace = 'lavoro'::regnamespace and relkind in ('r', 'p')
            and not (relreplident = 'f' or (relreplident = 'd' and exists (
                select from pg_index i where i.indrelid = c.oid and i.indisprimary)))"""
    assert rows(tx, query) == []
    names = "select count(*) from pg_class where relname like 'finished%t%' and relkind = 'r'"
    assert value(tx, names) > 4  # partitions of times are among them


def test_retention_where_all_tables_are_published(bare: Tx) -> None:
    """Whatever wal_level is: a publication is enough for the server to ask for a replica identity."""
    bare.connection.execute("create publication everything for all tables")
    moment = now(bare) - dt.timedelta(days=40)
    finish_at(bare, moment)
    finish_at(bare, moment, state="FAILURE")
    partitions.make_ahead(bare)
    partitions.drop_behind(bare, DEFAULT_RETENTION)
    assert value(bare, "select count(*) from lavoro.finished") == 0
    workers.forget_old(bare, kept=1.0)
