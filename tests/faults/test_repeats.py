"""A call without an answer is made again: whatever became of the first one, and whenever, one row is stored in all."""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from lavoro import Lavoro
from lavoro.exceptions import OperationalError
from lavoro.protocol.ids import uuid7
from lavoro.protocol.message import Message
from lavoro.protocol.place import Place
from lavoro.store import offers, tasks
from lavoro.store.connection import Connector
from lavoro.store.schema.migrate import migrate
from lavoro.store.tx import Tx
from tests.faults.proxy import Proxy
from tests.faults.stage import Stage
from tests.postgres import Cluster
from tests.store.walk import lane, message, registered, succeeded, take

PATIENCE = 0.4
SLEEPS = "select pg_advisory_lock_shared(hashtextextended('lavoro_queue:celery', 0))"
WAKES = SLEEPS.replace("_lock_", "_unlock_")
COUNT = """
    select (select count(*) from lavoro.waiting where id = any(%(ids)s))
        + (select count(*) from lavoro.running where id = any(%(ids)s))
        + (select count(*) from lavoro.finished where id = any(%(ids)s))"""
STALL = """
    create table public.stall ();
    create function public.stall() returns trigger language plpgsql as $$ begin
        if exists (select from public.stall) then perform pg_advisory_xact_lock(4711); end if;
        return new;
    end $$;
    create trigger stall before insert on lavoro.waiting for each row execute function public.stall();
    create trigger stall before insert on lavoro.running for each row execute function public.stall();
    insert into public.stall default values"""
"""The first call waits before it stores anything, as behind a lock; those that come once the row is gone do not."""


def count(tx: Tx, ids: list[uuid.UUID]) -> int:
    return int(tx.connection.execute(COUNT, {"ids": ids}).fetchall()[0][0])


# Where the first call is under way while the repeat is made


Kind = Callable[[Tx], list[Message]]


def plain(tx: Tx) -> list[Message]:
    return [message()]


def awake(tx: Tx) -> list[Message]:
    tx.connection.execute(WAKES.encode())
    return [message()]


def unlooked(tx: Tx) -> list[Message]:
    return [message(name="quietly")]


def chosen(tx: Tx) -> list[Message]:
    return [message(id=uuid.uuid4())]


def assigned(tx: Tx) -> list[Message]:
    offers.offer(tx, 1, {"celery": 1}, seconds=60)
    return [message()]


def many(tx: Tx) -> list[Message]:
    return [message() for _ in range(3)]


def unlike(tx: Tx) -> list[Message]:
    return [message(priority=number % 2) for number in range(3)]


@pytest.fixture
def worker(stage: Stage) -> int:
    """A worker with the id 1, which sleeps."""
    stage.connection.execute(SLEEPS)
    return registered(stage.tx)


@pytest.mark.parametrize("by_then", ["waiting", "running", "finished", "never"])
@pytest.mark.parametrize("kind", [plain, awake, unlooked, chosen, assigned, many, unlike])
def test_the_first_call_ends_while_the_repeat_waits_for_it(stage: Stage, worker: int, kind: Kind, by_then: str) -> None:
    """Row 11: it commits, and what it stored has gone on by then to where the repeat did not see it."""
    first, second, messages = stage.another(), stage.another(), kind(stage.tx)
    with ThreadPoolExecutor() as threads:
        with first.connection.transaction(force_rollback=by_then == "never"):
            tasks.insert(first, messages, look=kind is not unlooked)
            repeat = threads.submit(tasks.insert, second, messages, repeated=True)
            stage.until_it_waits_or(repeat.done, count=1)
            if by_then in ("running", "finished"):
                jobs = take(first, lane(), lane(priority=1), worker_id=worker)
                if kind is assigned:
                    jobs = tasks.adopt(first, worker, known=[])
                assert len(jobs) == len(messages)
                if by_then == "finished":
                    tasks.finish(first, worker, [succeeded(job) for job in jobs])
        repeat.result(60)
    assert count(stage.tx, [message.id for message in messages]) == len(messages)
    first.connection.close()
    second.connection.close()


def test_a_worker_claims_while_the_repeat_looks(stage: Stage, worker: int) -> None:
    """Row 11: the row is there when the repeat looks, and gone when it asks the index."""
    holder, second, messages = stage.another(), stage.another(), [message()]
    tasks.insert(stage.tx, messages)
    stage.let_inserts_lock()
    with ThreadPoolExecutor() as threads:
        with holder.connection.transaction():
            holder.connection.execute("select pg_advisory_xact_lock(2)")  # for the insert that is to be kept
            repeat = threads.submit(tasks.insert, second, messages, repeated=True)
            stage.until_it_waits_or(repeat.done, count=1)
            assert len(take(stage.tx, worker_id=worker)) == 1
        repeat.result(60)
    assert count(stage.tx, [messages[0].id]) == 1
    holder.connection.close()
    second.connection.close()


# What is given up


@contextmanager
def impatient(url: str, **settings: Any) -> Iterator[Lavoro]:
    """An application that waits only a moment for an answer."""
    policy = {"interval_start": 0.01, "interval_max": 0.1, "max_retries": 10}
    with Lavoro("shop", broker=url, task_publish_retry_policy=policy, set_as_current=False, **settings) as app:
        app.database.patience = PATIENCE
        yield app


def chord_of(id: uuid.UUID) -> list[Message]:
    """The messages of a chord of two, of which one has this id, and of its body, which is held."""
    barrier = uuid7()
    ids = [id, uuid7()]
    members = [message(id=id, place=Place(f'{{"{barrier}":{index}}}')) for index, id in enumerate(ids)]
    return [*members, message(place=Place(held_for=barrier, expects=2))]


CALLS: dict[str, Callable[[Lavoro, uuid.UUID], object]] = {
    "plain": lambda app, id: app.send_task("echo", task_id=str(id)),
    "later": lambda app, id: app.send_task("echo", task_id=str(id), countdown=0.001),
    "many": lambda app, id: app.publish([message(id=id), message(), message()], connection=None),
    "canvas": lambda app, id: app.publish(chord_of(id), connection=None),
}


def held(tx: Tx) -> None:
    """Wait until somebody waits for the lock that stands for what stalls."""
    query = "select count(*) from pg_locks where locktype = 'advisory' and objid = 4711 and not granted"
    deadline = time.monotonic() + 60
    while tx.connection.execute(query).fetchall() == [(0,)]:
        assert time.monotonic() < deadline, "nobody waits"
        time.sleep(0.002)


@pytest.mark.parametrize("way", ["direct", "pooled", "pooled and cut"])
@pytest.mark.parametrize("call", CALLS)
def test_the_first_call_would_begin_after_the_repeat_is_over(
    stage: Stage, cluster: Cluster, call: str, way: str
) -> None:
    """Row 11: it waits longer than its deadline, and in that time the repeat is stored, claimed and finished."""
    stage.connection.execute(STALL.encode())
    worker, holder, id = registered(stage.tx), stage.another(), uuid7()
    with ThreadPoolExecutor() as threads, Proxy(cluster.port) as proxy:
        url = proxy.url(stage.url) if way == "pooled and cut" else stage.url
        with impatient(url, lavoro_pooled=way != "direct") as app:
            with holder.connection.transaction():
                holder.connection.execute("select pg_advisory_xact_lock(4711)")
                calling = threads.submit(CALLS[call], app, id)
                held(stage.tx)
                stage.connection.execute("delete from public.stall")
                if way == "pooled and cut":
                    proxy.cut()
                calling.result(60)
                jobs = take(stage.tx, worker_id=worker)
                tasks.finish(stage.tx, worker, [succeeded(job) for job in jobs])
                assert id in {job.id for job in jobs}
            stage.until_nobody_runs("lavoro")
    assert count(stage.tx, [job.id for job in jobs]) == len(jobs)
    holder.connection.close()


def test_a_session_that_does_not_end_leaves_the_call_unmade(stage: Stage, cluster: Cluster) -> None:
    """As where user and password are replaced every day: nobody ends the first call, so it is not made again."""
    stage.connection.execute(STALL.encode())
    stage.connection.execute("drop role if exists yesterday")
    stage.connection.execute("create role yesterday login")
    stage.connection.execute("grant usage on schema lavoro to yesterday")
    stage.connection.execute("grant all on all tables in schema lavoro to yesterday")
    stage.connection.execute("grant all on all functions in schema lavoro to yesterday")
    stage.connection.execute("grant select on public.stall to yesterday")
    urls, id = [stage.url.replace("postgres@", "tomorrow@"), stage.url.replace("postgres@", "yesterday@")], uuid7()
    stage.connection.execute("create role tomorrow login in role yesterday noinherit")
    try:
        holder = stage.another()
        with ThreadPoolExecutor() as threads, impatient(stage.url, database_engine_options={"pool_size": 0}) as app:
            app.database.connector = Connector(lambda: urls.pop() if len(urls) > 1 else urls[0])
            with holder.connection.transaction():
                holder.connection.execute("select pg_advisory_xact_lock(4711)")
                calling = threads.submit(CALLS["plain"], app, id)
                held(stage.tx)
                with pytest.raises(OperationalError, match="may still be stored"):
                    calling.result(60)
            stage.until_nobody_runs("lavoro")
        assert count(stage.tx, [id]) == 1
        holder.connection.close()
    finally:
        for role in ("tomorrow", "yesterday"):
            stage.connection.execute(f"drop owned by {role}".encode())
            stage.connection.execute(f"drop role {role}".encode())


def test_a_repeat_waits_for_the_standby_too(own_cluster: Cluster) -> None:
    """What the first call stored is in the database, and the standby does not have it: that is not "stored" yet."""
    url = own_cluster.url(own_cluster.create_database())
    migrate(url)
    with impatient(url) as app, psycopg.connect(url, autocommit=True) as observer:
        app.send_task("echo")
        own_cluster.execute("alter system set synchronous_standby_names = 'gone'")
        own_cluster.execute("select pg_reload_conf()")
        _until_commits_wait(url, observer)
        waits = "select 1 from pg_stat_activity where wait_event = 'SyncRep'"
        with ThreadPoolExecutor() as threads:
            id = uuid7()
            calling = threads.submit(CALLS["plain"], app, id)
            deadline = time.monotonic() + 60
            while not observer.execute(waits).fetchall() and not calling.done():
                assert time.monotonic() < deadline
            with pytest.raises(OperationalError, match="did not answer"):
                calling.result(60)
        assert observer.execute(COUNT, {"ids": [id]}).fetchall() == [(1,)]
        observer.execute("set synchronous_commit = local")
        own_cluster.execute("alter system reset synchronous_standby_names")
        own_cluster.execute("select pg_reload_conf()")
        app.database.patience = 30.0
        app.database.dispose()
        app.send_task("echo")


def _until_commits_wait(url: str, observer: psycopg.Connection[Any]) -> None:
    """Return when commits wait for the standby: another process of the server has read the new setting by then."""
    deadline = time.monotonic() + 60
    with psycopg.connect(url, autocommit=True) as probe, ThreadPoolExecutor() as threads:
        pid, waits = probe.info.backend_pid, "select 1 from pg_stat_activity where wait_event = 'SyncRep' and pid = %s"
        while True:
            assert time.monotonic() < deadline
            writing = threads.submit(probe.execute, "update lavoro.meta set name = name")
            while not (waiting := observer.execute(waits, [pid]).fetchall()) and not writing.done():
                pass
            if waiting:
                observer.execute("select pg_cancel_backend(%s)", [pid])
                writing.result(60)
                return


def test_whatever_meets_whatever(stage: Stage, cluster: Cluster) -> None:
    """Tables are locked and connections cut at random, and what is stored is claimed and finished at once."""
    worker, choice, over = registered(stage.tx), random.Random(7), threading.Event()
    stored, unknown = list[uuid.UUID](), list[uuid.UUID]()
    with Proxy(cluster.port) as proxy, impatient(proxy.url(stage.url)) as app:

        def call(number: int) -> None:
            calls = list(CALLS.values())
            for _ in range(12):
                id = uuid7()
                try:
                    calls[number % 3](app, id)
                    stored.append(id)
                except OperationalError:
                    unknown.append(id)

        def work() -> None:
            tx = stage.another()
            while not over.is_set():
                if jobs := take(tx, worker_id=worker):
                    tasks.finish(tx, worker, [succeeded(job) for job in jobs])
            tx.connection.close()

        def harm() -> None:
            tx = stage.another()
            while not over.wait(choice.uniform(0, 0.2)):
                if choice.random() < 0.3:
                    proxy.cut()
                    continue
                table = choice.choice(["waiting", "running", "finished"])
                with tx.connection.transaction():
                    tx.connection.execute(f"lock table lavoro.{table} in exclusive mode".encode())
                    over.wait(choice.uniform(0, 2.5 * PATIENCE))
            tx.connection.close()

        with ThreadPoolExecutor() as threads:
            nemeses = [threads.submit(work), threads.submit(harm)]
            for done in [threads.submit(call, number) for number in range(9)]:
                done.result(200)
            over.set()
            for nemesis in nemeses:
                nemesis.result(60)
        stage.until_nobody_runs("lavoro")
    assert len(stored) > 40
    assert count(stage.tx, stored) == len(stored)
    assert count(stage.tx, unknown) <= len(unknown)
    assert stage.connection.execute("select id from lavoro.tasks group by id having count(*) > 1").fetchall() == []
