"""Plans: what runs per task looks rows up by index, whatever the statistics say, and however the tables grew."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from lavoro.protocol import outcome
from lavoro.protocol.ids import uuid7
from lavoro.protocol.place import Place
from lavoro.store import tasks
from lavoro.store.connection import Connector
from lavoro.store.database import Database
from lavoro.store.statements import numbered
from lavoro.store.tx import Tx
from tests.postgres import Cluster
from tests.store.walk import LONG_AGO, lane, message, registered, rows, sent_and_taken, succeeded, take, value

TABLES = "lavoro.waiting, lavoro.running, lavoro.finished, lavoro.attempt"
WAITING, RUNNING = 60_000, 40_000
BATCH = 100

FILL = f"""
    insert into lavoro.waiting (id, queue, priority, due_at, name, args)
    select gen_random_uuid(), 'q' || i % 3, i % 2, clock_timestamp() - i * interval '1 ms', 'noop', '[1]'
    from generate_series(1, {WAITING}) i;
    insert into lavoro.running
        (id, worker_id, queue, priority, attempt, retries, crashes, due_at, created_at, name, args, cancel)
    select gen_random_uuid(), i % 4 + 1, 'q1', 0, 1, 0, 0, now(), now(), 'noop', '[1]',
        case when i % 1000 = 0 then '{{}}' end
    from generate_series(1, {RUNNING}) i;
    insert into lavoro.finished
        (id, state, worker_id, queue, priority, attempt, retries, crashes, due_at, created_at, name, finished_at)
    select gen_random_uuid(), case when i % 2 = 0 then 'SUCCESS' else 'FAILURE' end, 1, 'q1', 0, 1, 0, 0, now(), now(),
        'noop', now() + (i % 2) * interval '1 hour' from generate_series(1, {RUNNING}) i;
    insert into lavoro.attempt (id, number, worker_id, state)
    select gen_random_uuid(), 1, 1, 'RETRY' from generate_series(1, {RUNNING}) i;
"""


def never_analyzed(connection: psycopg.Connection) -> None:
    """New tables that were filled a moment ago."""
    connection.execute(FILL.encode())


def analyzed_while_empty(connection: psycopg.Connection) -> None:
    """A quiet system that is flooded."""
    connection.execute(f"analyze {TABLES}".encode())
    connection.execute(FILL.encode())


def analyzed_while_large(connection: psycopg.Connection) -> None:
    """A long queue."""
    connection.execute(FILL.encode())
    connection.execute(f"analyze {TABLES}".encode())


def emptied_since(connection: psycopg.Connection) -> None:
    """A long queue that was worked off, and a snapshot kept vacuum from cleaning up."""
    analyzed_while_large(connection)
    connection.execute("delete from lavoro.waiting where random() < 0.99")
    connection.execute("delete from lavoro.running where random() < 0.95")


STATISTICS = [never_analyzed, analyzed_while_empty, analyzed_while_large, emptied_since]
State = Callable[[psycopg.Connection], None]


@pytest.fixture(scope="module", params=STATISTICS, ids=lambda state: state.__name__)
def filled(request: pytest.FixtureRequest, cluster: Cluster, migrated_template: str) -> Iterator[psycopg.Connection]:
    """A connection to a database of 60,000 waiting tasks, with these statistics and no vacuum to change them."""
    name = cluster.create_database(template=migrated_template)
    with psycopg.connect(cluster.url(name), autocommit=True) as connection:
        for [table] in connection.execute(
            "select oid::regclass::text from pg_class where relnamespace = 'lavoro'::regnamespace and relkind = 'r'"
        ).fetchall():
            connection.execute(f"alter table {table} set (autovacuum_enabled = off)".encode())
        request.param(connection)
        yield connection
    cluster.drop_database(name)


def some(connection: psycopg.Connection, query: str) -> list[Any]:
    return [row[0] for row in connection.execute(f"{query} limit {BATCH}".encode()).fetchall()]


def parameters_for(connection: psycopg.Connection, name: str) -> dict[str, Any]:
    """What the statement is run with by a busy worker."""
    running = some(connection, "select id from lavoro.running where worker_id = 1")
    waiting = some(connection, "select id from lavoro.waiting")
    first = running[0] if running else None
    batch = {"ids": running, "attempts": [1] * len(running), "worker_id": 1}
    every: dict[str, dict[str, Any]] = {
        "claim_tasks": {
            "queues": ["q0", "q2"], "priorities": [1, 0], "bounds": [LONG_AGO] * 2, "limit": BATCH, "worker_id": 1,
        },
        "discover_lanes": {"queues": ["q0", "q1", "q2"]},
        "finish_tasks": batch | {"states": ["SUCCESS"] * len(running)},
        "finish_task": {"id": first, "worker_id": 1, "attempt": 1, "state": "SUCCESS"},
        "finish_link": {
            "id": first, "worker_id": 1, "attempt": 1, "next_id": uuid7(), "queue": "q0", "priority": 0,
            "name": "test.next", "start": True,
        },
        "finish_and_follow": batch
        | {"states": ["SUCCESS"] * len(running), "parents": running, "message_ids": waiting[: len(running)]},
        "requeue_tasks": batch | {"states": ["RETRY"] * len(running)},
        # A few, as people revoke: without statistics PostgreSQL 14 to 16 reads a table whole for hundreds of ids.
        "revoke_tasks": {"ids": [*running[:5], *waiting[:5]], "cancel": "{}"},
        "insert_task": message()._asdict(),
        "insert_task_quietly": message()._asdict(),
        "insert_calls": message()._asdict()
        | {"ids": running, "args": ["[]"] * len(running), "kwargs": [None] * len(running), "always": False},
        "insert_tasks": {"ids": running, "always": False, "repeated": True},
        "fetch_assigned": {"ids": running, "worker_id": 1},
        "withdraw_offers": {"worker_id": 1},
        "workers_of_orphans": {"ever": False},
        "report_state": {"id": first, "state": "HALF", "meta": None},
        "store_progress": {"id": first, "worker_id": 1, "attempt": 1, "state": "HALF", "meta": None},
        "fetch_task": {"id": first},
        "fetch_outcome": {"id": first},
        "forget_tasks": {"ids": running[:5]},  # a few, for the same reason
        "list_ended": {"ids": running},
        "fetch_outcomes": {"ids": running},
        "accepted_outcomes": {"ids": running, "worker_id": 1},
        "renew_leases": {"ids": [1, 2], "back": 60.0, "factor": 1.0, "known": None, "shortening": False},
        "stop_worker": {"id": 1, "reason": "gone"},
        "offer_slots": {"worker_id": 1, "queues": ["q1"], "counts": [1], "seconds": 5.0},
    }  # fmt: skip
    return every[name]


def explained(connection: psycopg.Connection, name: str, mode: str) -> list[dict[str, Any]]:
    """The nodes of the plan that the server makes for a prepared statement."""
    parameters, (text, order) = parameters_for(connection, name), numbered(name)
    connection.execute(f"set plan_cache_mode = {mode}".encode())
    connection.execute(b"prepare it as " + text)
    call = f"explain (format json) execute it({', '.join(['%s'] * len(order))})"
    values = [
        parameters.get(parameter, []) if name.endswith(("_tasks", "_follow")) else parameters.get(parameter)
        for parameter in order
    ]
    try:
        plans = psycopg.ClientCursor(connection).execute(call.encode(), values).fetchall()
    finally:
        connection.execute("deallocate it")
    return list(nodes(plans[0][0][0]["Plan"]))


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for inner in plan.get("Plans", ()):
        yield from nodes(inner)


def read_whole(connection: psycopg.Connection, plan: list[dict[str, Any]]) -> set[str]:
    """The large tables that the plan reads from one end to the other, be it along an index."""
    large = """
        select c.relname from pg_class c where pg_relation_size(c.oid) > 200000 and c.relkind = 'r'
        union select i.indexrelid::regclass::text from pg_index i where pg_relation_size(i.indrelid) > 200000"""
    names = {row[0].removeprefix("lavoro.") for row in connection.execute(large)}
    return {
        f"{node['Node Type']} {name}"
        for node in plan
        if (name := node.get("Relation Name") or node.get("Index Name")) in names
        and (node["Node Type"] == "Seq Scan" or ("Index" in node["Node Type"] and "Index Cond" not in node))
    }


MODES = pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
HOT = [
    "claim_tasks", "discover_lanes", "finish_task", "finish_tasks", "finish_link", "finish_and_follow",
    "requeue_tasks", "revoke_tasks", "insert_task", "insert_task_quietly", "insert_calls", "insert_tasks",
    "store_progress", "report_state", "fetch_task",
    "fetch_outcome", "list_ended", "fetch_outcomes", "forget_tasks", "accepted_outcomes", "renew_leases",
    "fetch_assigned", "withdraw_offers",
]  # fmt: skip


@MODES
@pytest.mark.parametrize("name", HOT)
def test_no_large_table_is_read_whole(filled: psycopg.Connection, name: str, mode: str) -> None:
    assert read_whole(filled, explained(filled, name, mode)) == set()


@MODES
def test_orphans_are_searched_for_only_after_some_worker_was_ended(filled: psycopg.Connection, mode: str) -> None:
    """Under load `running` is a few rows among millions of dead ones, once a minute."""
    assert any("One-Time Filter" in node for node in explained(filled, "workers_of_orphans", mode))


# Plans that the server has kept from a quiet time


@pytest.fixture
def quiet(cluster: Cluster, migrated_template: str) -> Iterator[Database]:
    """A database of its own, with a worker."""
    name = cluster.create_database(template=migrated_template)
    database = Database(cluster.url(name))
    yield database
    database.dispose()
    cluster.drop_database(name)


def trickle(tx: Tx) -> None:
    """Work off tasks one by one, often enough for the server to settle on a plan."""
    for _ in range(12):
        tasks.finish(tx, 1, [succeeded(sent_and_taken(tx))])
        tasks.requeue(tx, 1, [outcome.retrying(sent_and_taken(tx), countdown=0.0)])
        tasks.finish(tx, 1, [succeeded(take(tx)[0])])


def rows_read(tx: Tx) -> int:
    """How many rows of `waiting` and `running` have been read one after the other up to now."""
    tx.cursor.execute("select pg_stat_force_next_flush()")
    query = "select sum(seq_tup_read)::bigint from pg_stat_user_tables where relname in ('waiting', 'running')"
    return int(value(tx, query))


def test_a_flood_after_a_quiet_time_is_claimed_by_index(quiet: Database) -> None:
    tx, filler = quiet.open("lavoro-test"), quiet.open("lavoro-test")
    registered(tx)
    trickle(tx)
    filler.connection.execute(f"vacuum (analyze, index_cleanup off) {TABLES}".encode())
    trickle(tx)
    filler.connection.execute(FILL.encode())
    read = rows_read(tx)
    jobs = [job for _ in range(13) for job in take(tx, lane("q1"), limit=BATCH)]
    assert tasks.finish(tx, 1, [succeeded(job) for job in jobs]) == 13 * BATCH
    assert tasks.revoke(tx, [uuid7() for _ in range(1000)], cancel="{}") == 0
    assert rows_read(tx) - read == 0
    assert rows(tx, "select 1 from pg_prepared_statements where statement like '%waiting%'")
    tx.connection.close()
    filler.connection.close()


@pytest.mark.parametrize("pooled", [False, True])
def test_a_session_shared_with_others_keeps_its_settings(quiet: Database, pooled: bool) -> None:
    database = Database(Connector(quiet.url, pooled=pooled))
    with contextlib.closing(database.connect("lavoro-test")) as connection:
        assert connection.execute("show enable_seqscan").fetchall() == [("on" if pooled else "off",)]


WITHOUT_A_KEY = {
    "claim_tasks": {"InitPlan revoked_pkey"},  # whether there is any at all
    "discover_lanes": {"Outer queue_pkey"},  # those that are paused, of a few
}


@pytest.mark.parametrize("name", [*HOT, "stop_worker", "offer_slots"])
def test_a_plan_of_a_quiet_time_looks_up_by_keys(quiet: Database, name: str) -> None:
    """It is kept, and must do for a day on which there are thousands of workers or revoked ids.

    A claim that looked for its worker among all that live also met, beside a held snapshot, each renewal since then.
    """
    with quiet.tx() as tx:
        registered(tx)
        plan = explained(tx.connection, name, "force_generic_plan")
    whole = {
        f"{node['Parent Relationship']} {node['Index Name']}"
        for node in plan
        if "Index Name" in node and "Index Cond" not in node
    }
    assert whole == WITHOUT_A_KEY.get(name, set())


# Canvases: their functions have plans of their own


CANVASES = """
    insert into lavoro.barrier (id, task_id, size, remaining)
    select gen_random_uuid(), gen_random_uuid(), 10, 10 from generate_series(1, 20000);
    insert into lavoro.member (barrier, index, task_id, state)
    select gen_random_uuid(), 0, gen_random_uuid(), 'SUCCESS' from generate_series(1, 20000);
    insert into lavoro.held (id, queue, name, barrier)
    select gen_random_uuid(), 'q', 'n', gen_random_uuid() from generate_series(1, 20000);
"""


def test_no_large_table_is_read_whole_for_a_canvas(filled: psycopg.Connection) -> None:
    """In a session whose settings are the caller's own."""
    worker = registered(Tx(filled, "lavoro"))
    with psycopg.connect(filled.info.dsn, autocommit=True) as connection, connection.transaction(force_rollback=True):
        connection.execute(CANVASES.encode())
        tx, barrier = Tx(connection, "lavoro"), uuid7()
        sent = [message(queue="mine", place=Place(f'{{"{barrier}":{index}}}')) for index in range(20)]
        tasks.insert(tx, [*sent, message(queue="mine", place=Place(held_for=barrier, expects=20))])
        jobs = take(tx, lane("mine"), worker_id=worker)
        before = scans(tx)
        blocked = message(place=Place(None, None, 2, (jobs[0].id, uuid7())))
        tasks.insert(tx, [blocked, message(place=Place(None, None, 1, (jobs[1].id,)))])
        tasks.insert(tx, sent, repeated=True)
        tasks.finish(tx, worker, [succeeded(job) for job in jobs[:10]])
        tasks.finish(tx, worker, [outcome.failed(jobs[10], '{"exc_type":"E"}', None)])
        tasks.revoke(tx, [blocked.id], cancel="{}")
        assert scans(tx) == before


def scans(tx: Tx) -> dict[str, int]:
    """How often this transaction has read each large table from one end to the other."""
    query = """
        select relname, seq_scan from pg_stat_xact_user_tables
        where schemaname = 'lavoro' and relname in ('waiting', 'running', 'held', 'barrier', 'member')"""
    return dict(rows(tx, query))  # type: ignore[arg-type]
