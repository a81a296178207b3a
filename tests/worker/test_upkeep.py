"""What a node owes the database: by one of them at a time, and by the others when that one is stopped."""

from __future__ import annotations

import datetime as dt
import logging
import math
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from psycopg.errors import LockNotAvailable

from lavoro import Lavoro
from lavoro.exceptions import TaskRevokedError
from lavoro.store import workers
from lavoro.store.database import Database
from lavoro.store.errors import LOST
from lavoro.store.notifications import Lease, read
from lavoro.store.tx import Tx
from lavoro.store.workers import Ending, Registration, Rescue
from lavoro.worker.supervisor import rescue, retention
from lavoro.worker.supervisor.duty import Duty, Hooks
from lavoro.worker.supervisor.renewal import STUCK_INTERVAL
from lavoro.worker.supervisor.rescue import IDLE_TIMEOUT, LOCK_TIMEOUT
from lavoro.worker.supervisor.upkeep import Terms, Upkeep
from tests.conftest import Eventually
from tests.worker.conftest import PATIENCE, Ledger, StartWorker, rows

RETENTION = {"finished_success": 3600.0, "finished_failure": None, "attempt": None}


@pytest.fixture
def database(migrated_url: str) -> Iterator[Database]:
    database = Database(migrated_url)
    yield database
    database.dispose()


def node(database: Database, name: str, *, lease: float = 30.0) -> Upkeep:
    hooks = Hooks(lost=lambda ids: None, cancel=lambda cancels: None)
    return Upkeep(database, hooks, Terms(name, lease, 3, RETENTION))


def test_a_rescuer_that_is_stopped_does_not_keep_others_from_it(
    database: Database, monkeypatch: pytest.MonkeyPatch, eventually: Eventually
) -> None:
    """The server ends the session of one that was stopped in the middle, and what it had done is undone."""
    monkeypatch.setattr(rescue, "IDLE_TIMEOUT", "200ms")
    other = database.open("lavoro-test")
    id = workers.register(other, Registration("gone", 0, "host", 1, "gevent", 1, [], "1", 0.0))
    tx = database.open("lavoro-test")

    def half_a_rescue() -> None:
        with tx.short_locks(LOCK_TIMEOUT, idle=IDLE_TIMEOUT):
            assert workers.expire(tx) == (id, "gone/0")
            assert eventually(lambda: workers.expire(other), timeout=PATIENCE, why="another may") == (id, "gone/0")
            tx.connection.execute("select 1")

    with pytest.raises(LOST):
        half_a_rescue()
    tx.connection.close()
    other.connection.close()


def test_what_is_left_at_the_end_is_rescued_though_the_connection_was_cut(database: Database) -> None:
    leaving, other = node(database, "leaving"), database.open("lavoro-test")
    id = workers.register(other, Registration("leaving", 0, "host", 1, "gevent", 1, [], "1", 30.0))
    leaving.step()
    cut = "select pg_terminate_backend(pid, 60000) from pg_stat_activity where application_name = 'lavoro-upkeep'"
    assert other.connection.execute(f"{cut} and datname = current_database()".encode()).fetchall() == [(True,)]
    leaving.rescue(Rescue(id, Ending.stopped("it has left")))
    leaving.close()
    stopped = other.connection.execute("select stopped_at is not null from lavoro.worker where id = %s", (id,))
    assert stopped.fetchall() == [(True,)]
    other.connection.close()


def test_no_new_child_gets_a_lease_while_renewals_fail(database: Database, migrated_url: str) -> None:
    """Row 45: somebody holds the row of its sibling's lease; it gets one as soon as that is over."""
    given: list[int] = []
    impatient = Database(f"{migrated_url}?options=-c%20lock_timeout%3D50ms")
    upkeep, registration = node(impatient, "node"), Registration("node", 0, "host", 1, "gevent", 1, [], "1", 30.0)
    upkeep.register(registration, given.append)
    upkeep.step()
    [sibling] = given
    upkeep.register(registration._replace(process=1), given.append)
    upkeep.renew()
    with database.tx() as tx, tx.connection.transaction():
        tx.connection.execute("select from lavoro.worker where id = %s for update", (sibling,))
        with pytest.raises(LockNotAvailable):
            upkeep.step()
        assert given == [sibling]
    before = upkeep.trusted_until
    upkeep.step()
    assert len(given) == 2
    assert upkeep.trusted_until > before
    upkeep.close()


# Idle nodes

LEASE, LONG, RENEWED = 30.0, 240.0, 90.0
LEASE_OF = (
    "select extract(epoch from expires_at - seen_at)::float8 from lavoro.worker where stopped_at is null order by id"
)
SHORT = {"TEST_LEASE": "3", "TEST_IDLE_AFTER": "0.5"}
"""Environment of workers whose lease is 3 s, and 24 s while they are idle."""


@pytest.fixture
def idle(database: Database) -> Iterator[Upkeep]:
    """A node with one child that has held nothing for a while."""
    node_ = node(database, "idle")
    node_.register(Registration("idle", 0, "host", 1, "gevent", 1, [], "1", LEASE), lambda id: None)
    node_.step()
    node_.idle(True)
    node_.renew()
    node_.step()
    yield node_
    node_.close()


def leases(database: Database) -> list[float]:
    with database.tx() as tx:
        return [seconds for (seconds,) in tx.connection.execute(LEASE_OF.encode()).fetchall()]


def test_an_idle_node_has_a_long_lease_and_renews_it_seldom(database: Database, idle: Upkeep) -> None:
    assert leases(database) == pytest.approx([LONG], abs=1)
    assert idle.trusted_until - time.monotonic() == pytest.approx(LONG, abs=5)
    assert idle.step() == pytest.approx(RENEWED, abs=5)
    assert idle.healthy_until - time.monotonic() == pytest.approx(LONG / 2, abs=5)


def test_a_node_that_is_no_longer_idle_renews_at_once(database: Database, idle: Upkeep) -> None:
    """With its usual lease, and others are told that it may end so soon."""
    with database.tx() as tx:
        tx.connection.execute("listen lavoro_wake")
        idle.idle(False)
        assert idle.step() <= LEASE / 4
        [told] = tx.connection.notifies(timeout=PATIENCE, stop_after=1)
        tx.connection.execute("unlisten *")
    assert read(told.payload) == Lease(LEASE)
    assert leases(database) == pytest.approx([LEASE], abs=1)
    assert idle.trusted_until <= time.monotonic() + LEASE


def test_a_long_lease_that_may_have_been_shortened_is_trusted_no_more(migrated_url: str, database: Database) -> None:
    """Here the renewal fails; as well its answer might be lost."""
    upkeep = node(Database(f"{migrated_url}?options=-c%20lock_timeout%3D50ms"), "node")
    upkeep.register(Registration("node", 0, "host", 1, "gevent", 1, [], "1", LEASE), lambda id: None)
    upkeep.step()
    upkeep.idle(True)
    upkeep.renew()
    upkeep.step()
    with database.tx() as tx, tx.connection.transaction():
        tx.connection.execute("select from lavoro.worker for update")
        upkeep.idle(False)
        for _ in range(2):
            with pytest.raises(LockNotAvailable):
                upkeep.step()
    assert upkeep.trusted_until <= time.monotonic() + LEASE
    assert upkeep.healthy_until <= time.monotonic() + LEASE / 2
    upkeep.step()
    assert leases(database) == pytest.approx([LEASE], abs=1)
    upkeep.close()


def test_a_new_child_of_an_idle_node_makes_the_lease_of_all_short(database: Database, idle: Upkeep) -> None:
    """What is trusted is the same for all, and the new one begins with the usual lease."""
    trusted: list[float] = []
    registration = Registration("idle", 1, "host", 2, "gevent", 1, [], "1", LEASE)
    idle.register(registration, lambda id: trusted.append(idle.trusted_until - time.monotonic()))
    idle.step()
    assert trusted[0] <= LEASE
    assert leases(database) == pytest.approx([LEASE, LEASE], abs=1)


def test_an_idle_node_rescues_as_soon_as_a_lease_ends_that_was_renewed(
    database: Database, idle: Upkeep, eventually: Eventually
) -> None:
    """Several times since it looked; its own next renewal would be in 90 seconds."""
    other = node(database, "other", lease=2.0)
    other.register(Registration("other", 0, "host", 1, "gevent", 1, [], "1", 2.0), lambda id: None)
    other.step()
    idle.renew()
    idle.start()
    with database.tx() as tx:
        for _ in range(5):
            before = tx.connection.execute("select max(seen_at) from lavoro.worker where node = 'other'").fetchall()
            eventually(lambda: time.monotonic() >= other.renewal.due, timeout=PATIENCE, why="it is time")
            other.step()
            assert tx.connection.execute("select max(seen_at) from lavoro.worker where node = 'other'") != before
        late = "select extract(epoch from stopped_at - expires_at)::float8 from lavoro.worker where node = 'other'"
        ended = lambda: tx.connection.execute(f"{late} and stopped_at is not null".encode()).fetchall()  # noqa: E731
        [(seconds,)] = eventually(ended, timeout=PATIENCE, why="it is rescued")
    idle.stop(PATIENCE)
    other.close()
    assert 0 <= seconds < 45  # its own next renewal would come 90 seconds after the last


def long_lease(sender: Lavoro, node: str) -> bool:
    query = (
        f"select expires_at - seen_at > 4 * lease from lavoro.worker where node like '{node}%%' and stopped_at is null"
    )
    return rows(sender, query) == [(True,)]


def test_a_worker_that_gets_work_has_a_short_lease_at_once(
    start_worker: StartWorker, sender: Lavoro, migrated_url: str, ledger: Ledger, eventually: Eventually, tmp_path: Path
) -> None:
    """And a long one again when it has held nothing for a while."""
    worker = start_worker("-n", "w", "-c", "1", url=migrated_url, environment=SHORT | {"TEST_LEASE": "10"})
    eventually(lambda: long_lease(sender, "w"), timeout=PATIENCE, why="it is idle")
    result = sender.send_task("hold", [str(tmp_path / "gate")])
    eventually(lambda: not long_lease(sender, "w"), timeout=5, why="its next renewal would be in half a minute")
    (tmp_path / "gate").touch()
    assert result.get(timeout=PATIENCE) == "held"
    eventually(lambda: long_lease(sender, "w"), timeout=PATIENCE, why="it is idle again")
    assert worker.stop() == 0


@pytest.mark.parametrize("before", [pytest.param("is not there", marks=pytest.mark.slow), "is idle"])
def test_an_idle_node_is_told_when_the_lease_of_another_gets_short(
    start_worker: StartWorker, sender: Lavoro, migrated_url: str, ledger: Ledger, eventually: Eventually,
    tmp_path: Path, before: str,
) -> None:  # fmt: skip
    """The other one dies before this one would renew, and look, by itself: the task waits no longer than for it."""
    doomed = lambda: start_worker("-n", "doomed", "-Q", "other", url=migrated_url, environment=SHORT)  # noqa: E731
    worker = doomed() if before == "is idle" else None
    start_worker("-n", "heir", url=migrated_url, environment=SHORT | {"TEST_LEASE": "30"})
    for node in ("heir", *(["doomed"] if worker else [])):
        eventually(lambda node=node: long_lease(sender, node), timeout=PATIENCE, why="it is idle")
    worker = worker or doomed()
    task = sender.send_task("hold", [str(tmp_path / "gate")], queue="other")
    eventually(lambda: ledger.starts(task.id), timeout=PATIENCE, why="it runs")
    eventually(lambda: not long_lease(sender, "doomed"), timeout=PATIENCE, why="it has told")
    worker.destroy()
    late = "select extract(epoch from stopped_at - expires_at)::float8 from lavoro.worker where node like 'doomed%%'"
    [(seconds,)] = eventually(
        lambda: rows(sender, f"{late} and stopped_at is not null"), timeout=PATIENCE, why="it is rescued"
    )
    assert 0 <= seconds < 45  # its own next renewal would come 90 seconds after the last
    assert rows(sender, "select crashes from lavoro.waiting") == [(1,)]


def test_children_do_not_trust_a_long_lease_without_their_supervisor(
    start_worker: StartWorker, sender: Lavoro, migrated_url: str, eventually: Eventually
) -> None:
    """It may be shortened while nobody can tell them."""
    worker = start_worker("-n", "w", url=migrated_url, environment=SHORT | {"TEST_LEASE": "6"})
    eventually(lambda: long_lease(sender, "w"), timeout=PATIENCE, why="it is idle")
    [child] = worker.children
    supervisor = psutil.Process(worker.process.pid)
    waits = lambda: supervisor.num_ctx_switches().voluntary  # noqa: E731
    before = waits()
    eventually(lambda: waits() >= before + 4, timeout=PATIENCE, why="the supervisor has looked several times")
    supervisor.suspend()
    eventually(lambda: child.status() == psutil.STATUS_ZOMBIE, timeout=PATIENCE, why="its guard has ended it")
    assert rows(sender, "select expires_at - clock_timestamp() > 3 * lease from lavoro.worker") == [(True,)]
    supervisor.resume()


COUNT_RENEWALS = """
    create table renewals ();
    create function count_renewal() returns trigger language plpgsql as
        $$ begin insert into renewals default values; return null; end $$;
    create trigger count_renewals after update of seen_at on lavoro.worker execute function count_renewal();"""


def test_a_node_whose_task_is_revoked_renews_at_once(
    start_worker: StartWorker, sender: Lavoro, migrated_url: str, ledger: Ledger, eventually: Eventually
) -> None:
    """It would next in ten minutes; of the tasks of others it takes no notice."""
    start_worker("-c", "1", url=migrated_url, environment={"TEST_LEASE": "3600"})
    result = sender.send_task("nap", [600])
    eventually(lambda: ledger.starts(result.id), timeout=PATIENCE, why="it runs")
    rows(sender, COUNT_RENEWALS)
    rows(sender, f"select pg_notify('lavoro_wake', 'cancel:' || id + 1 || ':{result.id}') from lavoro.worker")
    sender.revoke(result.id, terminate=True)
    with pytest.raises(TaskRevokedError):
        result.get(timeout=PATIENCE)
    assert rows(sender, "select count(*) from renewals") == [(1,)]


def test_one_node_does_the_retention(
    database: Database, monkeypatch: pytest.MonkeyPatch, eventually: Eventually, caplog: pytest.LogCaptureFixture
) -> None:
    """However many there are, and at whatever time they look."""
    monkeypatch.setattr(retention, "jitter", lambda low, high: 0.0)
    monkeypatch.setattr(logging.getLogger("lavoro.worker"), "disabled", False)
    caplog.set_level(logging.INFO, "lavoro.worker")
    with database.tx() as tx:
        tx.connection.execute("drop table lavoro.finished_success cascade")
        tx.connection.execute(
            "create table lavoro.finished_success partition of lavoro.finished"
            " for values in ('SUCCESS', 'IGNORED') partition by range (finished_at)"
        )
        tx.connection.execute("create table lavoro.finished_success_rest partition of lavoro.finished_success default")
    nodes = [node(database, f"node {number}") for number in range(5)]
    together = threading.Barrier(len(nodes))

    def step(upkeep: Upkeep) -> None:
        together.wait(PATIENCE)
        upkeep.step()
        upkeep.close()

    threads = [threading.Thread(target=step, args=(node,)) for node in nodes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert sum("retention: made" in record.message for record in caplog.records) == 1
    with database.tx() as tx:
        assert tx.connection.execute("select term from lavoro.leader where name = 'retention'").fetchall() == [(1,)]


def test_the_lease_of_a_dead_child_is_not_renewed(database: Database) -> None:
    """Its rescue cannot be made here for some reason: the lease runs out, and another node makes it."""
    upkeep_ = node(database, "node")
    [dead, live] = [registered(upkeep_, number) for number in range(2)]
    upkeep_.rescue(Rescue(dead, Ending.expired("it has died")))
    with database.tx() as tx:
        before = expiries(tx)
        upkeep_.renew()
        upkeep_.renewal.run(tx)
        after = expiries(tx)
        assert after[dead] == before[dead]
        assert after[live] > before[live]
    upkeep_.close()


def test_a_main_loop_that_does_not_turn_lets_the_leases_run_out(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    """For longer than a renewal's time; when it turns again they are renewed at once."""
    turned = time.monotonic()
    hooks = Hooks(lost=lambda ids: None, cancel=lambda cancels: None, turned=lambda: turned)
    upkeep_ = Upkeep(database, hooks, Terms("node", 30.0, 3, RETENTION))
    id = registered(upkeep_, 0)
    with database.tx() as tx:
        before = expiries(tx)[id]
        turned = time.monotonic() - 30 / 4 - 1
        upkeep_.renew()
        pause = upkeep_.step()
        assert expiries(tx)[id] == before
        assert pause is not None
        assert pause >= STUCK_INTERVAL
        assert "has not turned for 8.5 s: no lease is renewed" in caplog.text
        turned = time.monotonic()
        upkeep_.step()
        assert (after := expiries(tx)[id]) > before
        caplog.clear()
        turned = math.inf  # the worker ends
        upkeep_.renew()
        upkeep_.step()
        assert expiries(tx)[id] > after
        assert caplog.text == ""
    upkeep_.close()


def registered(upkeep_: Upkeep, number: int) -> int:
    given: list[int] = []
    upkeep_.register(Registration("node", number, "host", 1, "gevent", 1, [], "1", 30.0), given.append)
    upkeep_.step()
    return given[0]


def expiries(tx: Tx) -> dict[int, object]:
    return dict(tx.connection.execute("select id, expires_at from lavoro.worker").fetchall())


CUT = """
    select pg_terminate_backend(pid, 60000) from pg_stat_activity
    where application_name = 'lavoro-upkeep' and datname = current_database()"""


def test_a_server_that_ends_idle_sessions_keeps_nobody_from_rescuing(
    start_worker: StartWorker, sender: Lavoro, migrated_url: str, ledger: Ledger, eventually: Eventually, tmp_path: Path
) -> None:
    """Or a proxy in front of it: after less time than there is between two renewals. Each finds its connection lost."""
    ended = threading.Event()

    def end_idle_sessions() -> None:
        while not ended.wait(0.2):
            rows(sender, f"{CUT} and state = 'idle' and state_change < now() - interval '200 ms'")

    proxy = threading.Thread(target=end_idle_sessions)
    proxy.start()
    doomed = start_worker("-n", "doomed", "-Q", "other", "-P", "threads", url=migrated_url, environment=SHORT)
    task = sender.send_task("hold", [str(tmp_path / "gate")], queue="other")
    eventually(lambda: ledger.starts(task.id), timeout=PATIENCE, why="it runs")
    heir = start_worker("-n", "heir", "-Q", "other", "-P", "threads", url=migrated_url, environment=SHORT)
    doomed.destroy()
    (tmp_path / "gate").touch()
    try:
        assert task.get(timeout=30) == "held"
    finally:
        ended.set()
        proxy.join()
    assert ledger.starts(task.id) == 2
    assert heir.log.count("lavoro-upkeep was closed while it was idle") <= 1


def lose_connection(upkeep: Upkeep, database: Database, *, silent: float) -> None:
    """Have the connection of an upkeep cut so many seconds after its last renewal."""
    with database.tx() as tx:
        tx.connection.execute(CUT.encode())
    upkeep.renewal.renewed_at -= silent
    upkeep.renew()
    with pytest.raises(LOST):
        upkeep.step()


@pytest.mark.parametrize(("silent", "outage"), [(5.0, False), (25.0, True)])
def test_only_an_outage_postpones_the_look_for_others(database: Database, silent: float, outage: bool) -> None:
    """After one all leases look run out; whoever held them comes back and knows better what was running."""
    upkeep = node(database, "node", lease=30.0)
    upkeep.register(Registration("node", 0, "host", 1, "gevent", 1, [], "1", 30.0), lambda id: None)
    upkeep.step()
    known = upkeep.server_clock.true_since, upkeep.server_clock.answers_since
    lose_connection(upkeep, database, silent=silent)
    upkeep.step()
    assert upkeep.server_clock.true_since == known[0]
    assert (upkeep.server_clock.answers_since != known[1]) is outage
    upkeep.close()


def test_a_connection_that_is_cut_while_idle_puts_off_a_rescue_by_half_of_a_usual_lease(
    database: Database, eventually: Eventually
) -> None:
    """Not by half of the long lease of an idle node: 120 s, where a proxy cuts what is idle for a minute."""
    upkeep, lease = node(database, "node", lease=4.0), 4.0
    upkeep.step()
    upkeep.server_clock.true_since = dt.datetime(2000, 1, 1, tzinfo=dt.timezone.utc)  # it has watched for long
    with database.tx() as tx:
        id = workers.register(tx, Registration("gone", 0, "host", 1, "gevent", 1, [], "1", lease))
        long = b"update lavoro.worker set seen_at = now() - interval '240 s', expires_at = now() where id = %s"
        tx.connection.execute(long, (id,))
        lose_connection(upkeep, database, silent=90.0)
        since = time.monotonic()

        def ended() -> bool:
            upkeep.step()
            [[stopped]] = tx.connection.execute(b"select stopped_at from lavoro.worker where id = %s", (id,)).fetchall()
            return stopped is not None

        eventually(ended, timeout=PATIENCE, why="its lease is ended")
        assert lease / 2 <= time.monotonic() - since < 4 * lease
    upkeep.close()


SUCCESSES = "for values in ('SUCCESS', 'IGNORED') partition by range (finished_at)"


def test_what_fails_keeps_nothing_else_from_being_done(
    database: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Each duty by itself, and it is told which; the connection is kept."""
    monkeypatch.setattr(retention, "jitter", lambda low, high: 0.0)
    monkeypatch.setattr(logging.getLogger("lavoro.worker"), "disabled", False)
    with database.tx() as tx:
        refuse = "returns text language plpgsql as $$ begin raise 'no partitions'; end $$"
        for change in (
            "drop function lavoro.make_partition",
            f"create function lavoro.make_partition(text, timestamptz, timestamptz) {refuse}",
            "drop table lavoro.finished_success cascade",
            f"create table lavoro.finished_success partition of lavoro.finished {SUCCESSES}",
            "create table lavoro.finished_success_rest partition of lavoro.finished_success default",
            "insert into lavoro.revoked values (gen_random_uuid(), now() - interval '3 days')",
        ):
            tx.connection.execute(change.encode())
    node_ = node(database, "node")
    node_.step()
    assert [record.message.split(":")[0] for record in caplog.records if "failed" in record.message] == [
        "upkeep failed to make and drop partitions of finished_success, trying again"
    ]
    with database.tx() as tx:
        assert tx.connection.execute("select count(*) from lavoro.revoked").fetchall() == [(0,)]
    node_.close()


def test_a_failing_question_for_the_leader_ends_no_connection(
    database: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(retention, "jitter", lambda low, high: 0.0)
    monkeypatch.setattr(logging.getLogger("lavoro.worker"), "disabled", False)
    with database.tx() as tx:
        tx.connection.execute("alter table lavoro.leader rename to gone")
    node_ = node(database, "node")
    node_.step()
    assert [record.message.split(",")[0] for record in caplog.records if "failed" in record.message] == [
        "upkeep failed to correct times after the clock was set",
        "upkeep failed to share the retention with other nodes",
    ]
    node_.close()


class Failing(Duty):
    """Fails in each round, with an error of the connection or with one that leaves it in order."""

    def __init__(self, statement: str) -> None:
        super().__init__()
        self._statement = statement

    def run(self, tx: Tx) -> None:
        self.attempt(tx, "to fail", lambda tx: tx.connection.execute(self._statement.encode()))


class Counting(Duty):
    """Counts its runs; the next is due at a time that the test sets."""

    due, pending, runs = math.inf, False, 0

    def run(self, tx: Tx) -> None:
        self.runs += 1


def test_a_new_duty_needs_no_change_of_the_upkeep(database: Database, caplog: pytest.LogCaptureFixture) -> None:
    """Its errors are logged by its own name, and the round comes when it is due, or soon while it is pending."""
    node_, counting = node(database, "node"), Counting()
    node_.step()
    node_.duties = (*node_.duties, Failing("select 1/0"), counting)
    assert node_.step() == pytest.approx(30 / 4, abs=1)
    counting.due = time.monotonic() + 2
    assert node_.step() == pytest.approx(2, abs=1)
    counting.due, counting.pending = math.inf, True
    assert node_.step() == pytest.approx(node_.max_backoff)
    assert counting.runs == 3
    assert caplog.messages.count("upkeep failed to fail, trying again: division by zero") == 1
    node_.duties = (*node_.duties[:-2], Failing("select pg_terminate_backend(pg_backend_pid())"), counting)
    with pytest.raises(LOST):
        node_.step()
    assert counting.runs == 3
    node_.close()
