"""Leases, and what becomes of the tasks of a worker that is gone."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

import pytest

from lavoro import serialization
from lavoro.exceptions import TimeLimitExceeded, WorkerLostError
from lavoro.protocol import outcome
from lavoro.protocol.message import Job
from lavoro.store import clock, tasks, unhandled, workers
from lavoro.store.statements import statement
from lavoro.store.tx import Tx
from lavoro.store.workers import Ending, Rescue
from tests.store.walk import message, registered, rows, send, sent_and_taken, stage_of, stored, succeeded, take, value

KILLED = "worker node/0 was killed"
EXPIRED = Ending.expired(KILLED)


def rescue(tx: Tx, ending: Ending = EXPIRED, *, worker_id: int = 1, max_crashes: int = 3) -> tuple[int, int]:
    """Rescue a worker's tasks; return how many wait again, and how many are over."""
    with tx.connection.transaction():
        parts = workers.rescue(tx, Rescue(worker_id, ending), max_crashes=max_crashes)
    return sum(part.waiting for part in parts), sum(len(part.ended) for part in parts)


def error_of(tx: Tx, job: Job) -> BaseException:
    return serialization.loads_exception(serialization.loads(stored(tx, job.id).result or ""))


def revived(tx: Tx, *, worker_id: int = 2) -> list[Job]:
    """What can be claimed once everything is due."""
    rows(tx, "update lavoro.waiting set due_at = clock_timestamp() returning 1")
    return take(tx, worker_id=worker_id)


# Leases


def test_a_lease_is_renewed_until_it_is_ended(tx: Tx) -> None:
    mine, other = registered(tx), registered(tx)
    before = value(tx, "select seen_at from lavoro.worker where id = %s", mine)
    assert workers.renew(tx, [mine, 999_999]).live == {mine}
    assert value(tx, "select seen_at > %s from lavoro.worker where id = %s", before, mine)
    rescue(tx, worker_id=mine)
    assert workers.renew(tx, [mine, other]).live == {other}
    assert value(tx, "select end_reason from lavoro.worker where id = %s", mine) == "worker node/0 was killed"


def test_a_renewal_tells_all_that_a_node_has_to_know(tx: Tx) -> None:
    """What of its own is to be cancelled, and whether the lease of somebody else has run out."""
    mine, others = sent_and_taken(tx, worker_id=1), sent_and_taken(tx, worker_id=2)
    tasks.revoke(tx, [mine.id, others.id], cancel="{}")
    late = registered(tx, lease=0.0)
    renewal = workers.renew(tx, [1, late])
    assert renewal.live == {1, late}
    assert renewal.expiry > 0
    assert [cancel[:3] for cancel in renewal.cancels] == [(mine.id, 1, 1)]
    nothing_of_its_own = workers.renew(tx, [])
    assert (nothing_of_its_own.live, nothing_of_its_own.cancels) == (set(), [])
    assert nothing_of_its_own.expiry <= 0
    assert 0 < workers.renew(tx, [late]).expiry <= 30


def test_a_renewal_need_not_look_at_what_ran_out_long_ago(tx: Tx) -> None:
    """A minute later all is looked at again; else each would read what all since a held snapshot have left."""
    rows(tx, "update lavoro.worker set expires_at = now() - interval '100 seconds' returning 1")
    assert workers.renew(tx, [], back=60).expiry == math.inf
    assert workers.renew(tx, []).expiry < -99


def test_a_renewal_that_comes_late_shortens_nothing(tx: Tx) -> None:
    """A node gave it up, and has asked for a long lease since: it trusts that one."""
    mine, query = registered(tx), "select expires_at - clock_timestamp() > 2 * lease from lavoro.worker where id = %s"
    before = workers.renew(tx, [mine]).seen
    long = workers.renew(tx, [mine], factor=8.0, known=before).seen
    assert value(tx, query, mine)
    workers.renew(tx, [mine], known=None)
    assert value(tx, query, mine)
    long = workers.renew(tx, [mine], factor=8.0, known=long).seen
    workers.renew(tx, [mine], known=before)
    assert value(tx, query, mine)
    long = workers.renew(tx, [mine], factor=8.0, known=before).seen
    workers.renew(tx, [mine], known=long)
    assert not value(tx, query, mine)


def test_there_is_one_leader_at_a_time(tx: Tx, opened: Callable[[], Tx]) -> None:
    """Nobody else gets it before its time is up; each holder has a term of its own."""
    assert workers.acquire_leadership(tx, "retention", holder="a", seconds=3600) == 1
    assert workers.acquire_leadership(opened(), "retention", holder="b", seconds=3600) is None
    assert workers.acquire_leadership(tx, "retention", holder="a", seconds=3600) is None
    assert workers.acquire_leadership(tx, "another", holder="b", seconds=0) == 1
    assert workers.acquire_leadership(opened(), "another", holder="c", seconds=0) == 2
    assert rows(tx, "select holder from lavoro.leader order by name") == [("c",), ("a",)]


def test_a_lease_that_ran_out_is_ended_once(tx: Tx, opened: Callable[[], Tx]) -> None:
    gone = registered(tx, lease=0.0, process=7)
    assert workers.expire(tx) == (gone, "node@test/7")
    assert workers.expire(opened()) is None
    assert workers.renew(tx, [gone]).live == set()


def test_a_lease_that_moves_is_not_ended(tx: Tx) -> None:
    """It ran out by a clock that was set ahead; how long it has not moved is counted by one that was not."""
    rows(tx, "update lavoro.worker set seen_at = now() - interval '1 hour', expires_at = now() - interval '59 minutes'"
             " where id = 1 returning 1")  # fmt: skip
    [[now, half_a_minute_ago, soon]] = rows(tx, "select now(), now() - interval '31 s', now() + interval '1 s'")
    assert workers.expire(tx, since=now) is None
    assert workers.expire(tx, since=half_a_minute_ago, latest=half_a_minute_ago) is None  # set a moment ago
    assert workers.expire(tx, since=half_a_minute_ago, latest=soon) == (1, "node@test/0")


def test_a_long_lease_is_ended_half_of_a_usual_one_after_an_outage(tx: Tx) -> None:
    """Its node has tried to renew it since three eighths of it had passed, as often as others do."""
    rows(tx, "update lavoro.worker set seen_at = now() - interval '241 s', expires_at = now() - interval '1 s'"
             " where id = 1 returning 1")  # fmt: skip
    [[hour, sooner, later]] = rows(
        tx, "select now() - interval '1 h', now() - interval '14 s', now() - interval '16 s'"
    )
    assert workers.expire(tx, since=hour, answers_since=sooner) is None
    assert workers.expire(tx, since=hour, answers_since=later) == (1, "node@test/0")


def test_a_lease_that_was_renewed_in_the_future_begins_now(tx: Tx) -> None:
    query = (
        "update lavoro.worker set seen_at = seen_at + '1 h', expires_at = expires_at + '1 h' where id = 1 returning 1"
    )
    rows(tx, query)
    assert clock.pull_leases(tx) == 1
    assert clock.pull_leases(tx) == 0
    age = "select extract(epoch from expires_at - clock_timestamp())::float8 from lavoro.worker where id = 1"
    assert value(tx, age) == pytest.approx(30, abs=5)
    rows(tx, query)
    workers.renew(tx, [1], known=None)  # nor does its own renewal leave it there
    assert value(tx, age) == pytest.approx(30, abs=5)


def test_a_leadership_of_the_future_is_free(tx: Tx) -> None:
    workers.acquire_leadership(tx, "retention", holder="a", seconds=60)
    rows(tx, "update lavoro.leader set until = until + interval '1 hour' returning 1")
    assert workers.acquire_leadership(tx, "retention", holder="b", seconds=60) == 2


def test_what_was_due_at_once_is_due_after_the_clock_was_set_back(tx: Tx, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "BATCH", 3)
    ids = [send(tx) for _ in range(8)]
    others = [send(tx, queue=queue, priority=priority) for queue in ("a", "z") for priority in (-1, 0, 5)]
    later = send(tx, countdown=60.0)
    forward = (
        "update lavoro.waiting set due_at = due_at + interval '1 h', created_at = created_at + interval '1 h'"
        " returning due_at"
    )
    rows(tx, forward)
    now = send(tx)
    [[due]] = rows(tx, "select due_at from lavoro.waiting where id = %s", later)
    pulled, seconds = clock.pull_tasks(tx)
    assert (pulled, seconds) == (14, pytest.approx(3600, abs=60))
    assert sorted(job.id for job in take(tx)) == sorted([*ids, now])
    order = rows(tx, "select id from lavoro.running where id <> %s order by due_at", now)
    assert order == [(id,) for id in ids]
    assert rows(tx, "select id from lavoro.waiting where due_at <= now() order by due_at") == [(id,) for id in others]
    assert rows(tx, "select due_at from lavoro.waiting where due_at > now()") == [(due,)]
    assert clock.pull_tasks(tx) == (0, 0.0)


def test_a_look_for_tasks_of_the_future_does_not_read_the_backlog(tx: Tx) -> None:
    """Each worker that begins makes it, and has some seconds for the answer."""
    backlog = "insert into lavoro.waiting (id, queue, name) select gen_random_uuid(), 'celery', 'x'"
    rows(tx, f"{backlog} from generate_series(1, 5000) returning 1")
    tx.connection.execute("analyze lavoro.waiting")
    plan = "explain (analyze, costs off, timing off, format json) "
    [[found]] = rows(tx, plan + statement("future_tasks"))
    assert "Seq Scan" not in str(found)
    reads = [int(count) for count in re.findall(r"'(?:Actual Rows|Rows Removed by Filter)': (\d+)", str(found))]
    assert reads
    assert max(reads) < 10


@pytest.mark.parametrize("how", ["requeued", "rescued"])
def test_what_was_claimed_goes_back_as_due_though_the_clock_was_set_back(tx: Tx, how: str) -> None:
    job = sent_and_taken(tx)
    rows(
        tx,
        "update lavoro.running"
        " set due_at = due_at + interval '1 h', created_at = created_at + interval '1 h' returning 1",
    )
    if how == "rescued":
        rescue(tx)
    else:
        tasks.requeue(tx, 1, [outcome.released(job)])
    assert [again.id for again in take(tx, worker_id=2)] == [job.id]
    assert clock.pull_tasks(tx) == (0, 0.0)


def test_one_rescuer_passes_over_what_another_is_ending(tx: Tx, opened: Callable[[], Tx]) -> None:
    gone, other = registered(tx, lease=0.0), opened()
    with tx.connection.transaction():
        assert workers.expire(tx) == (gone, "node@test/0")
        assert workers.expire(other) is None


def test_workers_without_a_lease_that_hold_tasks_are_found(tx: Tx) -> None:
    sent_and_taken(tx)
    assert workers.of_orphans(tx) == []
    rows(tx, "update lavoro.worker set stopped_at = now() where id = 1 returning 1")
    assert workers.of_orphans(tx) == []  # its rescue may be under way
    rows(tx, "update lavoro.running set started_at = now() + interval '1 hour' returning 1")
    assert workers.of_orphans(tx) == [1]  # it began by another clock
    rows(tx, "update lavoro.running set started_at = now() - interval '2 minutes' returning 1")
    assert workers.of_orphans(tx) == workers.of_orphans(tx, ever=False) == [1]
    rows(tx, "update lavoro.worker set stopped_at = now() - interval '1 hour' where id = 1 returning 1")
    assert (workers.of_orphans(tx), workers.of_orphans(tx, ever=False)) == ([1], [])


def test_old_workers_and_revokes_are_forgotten(tx: Tx) -> None:
    rows(tx, "update lavoro.worker set stopped_at = now() - interval '3 days' where id = 1 returning 1")
    rows(tx, "update lavoro.worker set stopped_at = now() - interval '1 day' where id = 2 returning 1")
    rows(tx, "insert into lavoro.revoked (id, revoked_at) select gen_random_uuid(), now() - i * interval '20 hours'"
             " from generate_series(0, 2) i returning 1")  # fmt: skip
    assert workers.forget_old(tx, kept=None) == (1, 0)
    assert workers.forget_old(tx, kept=2 * 86_400.0) == (0, 1)
    assert rows(tx, "select id from lavoro.worker order by id") == [(number,) for number in range(2, 7)]


# Rescue


def test_everything_of_the_worker_waits_again(tx: Tx) -> None:
    job, others = sent_and_taken(tx, kwargs='{"x":1}', options='{"root_id":"r"}'), sent_and_taken(tx, worker_id=2)
    [(created, due, started)] = rows(
        tx, "select created_at, due_at, started_at from lavoro.running where worker_id = 1"
    )
    assert rescue(tx) == (1, 0)
    columns = (
        "queue, attempt, retries, crashes, created_at, due_at, name, args::text, kwargs::text, options::text, reason"
    )
    assert rows(tx, f"select {columns} from lavoro.waiting") == [
        ("celery", 1, 0, 1, created, due, "test.add", "[1,2]", '{"x":1}', '{"root_id":"r"}', "worker node/0 was killed")
    ]
    columns = "id, number, worker_id, state, started_at, reason"
    assert rows(tx, f"select {columns} from lavoro.attempt") == [
        (job.id, 1, 1, "LOST", started, "worker node/0 was killed")
    ]
    assert stage_of(tx, others.id) == "running"
    assert rescue(tx) == (0, 0)


def test_what_comes_late_from_the_lost_worker_is_refused(tx: Tx) -> None:
    job = sent_and_taken(tx)
    rescue(tx)
    assert tasks.finish(tx, 1, [succeeded(job)]) == 0
    [again] = revived(tx)
    assert again.attempt == 2
    assert tasks.finish(tx, 1, [succeeded(job)]) == 0
    assert tasks.finish(tx, 2, [succeeded(again)]) == 1


def test_only_suspects_count_a_crash(tx: Tx) -> None:
    tasks.insert(tx, [message(), message()])
    running, begun_not = take(tx)
    assert rescue(tx, Ending.crashed(KILLED, [running.id])) == (2, 0)
    assert {job.id: (job.crashes, job.attempt) for job in revived(tx)} == {running.id: (1, 2), begun_not.id: (0, 2)}


def test_a_rescue_names_up_to_three_suspects(tx: Tx) -> None:
    """In what is recorded of the lost start and where it waits, and in the error of those that end."""
    tasks.insert(tx, [message() for _ in range(5)])
    jobs = take(tx)
    suspects = sorted(job.id for job in jobs)[:4]
    [rescued] = workers.rescue(tx, Rescue(1, Ending.crashed("it was killed", suspects)), max_crashes=1)
    named = ", ".join(f"test.add[{id}]" for id in suspects[:3])
    assert rescued.reason == f"it was killed; it had begun {named} and 1 more"
    message_ = f"{rescued.reason}; it was running at 1 such ends of a worker (lavoro_max_crashes)"
    assert sorted(rescued.ended) == [("test.add", str(id), "WorkerLostError", message_) for id in suspects]
    assert rows(tx, "select reason from lavoro.attempt union select reason from lavoro.waiting") == [(rescued.reason,)]


def test_nobody_is_blamed_for_an_end_that_no_task_can_have_caused(tx: Tx) -> None:
    job = sent_and_taken(tx)
    rescue(tx, Ending.fenced(KILLED))
    assert [(again.id, again.crashes) for again in revived(tx)] == [(job.id, 0)]


def test_the_third_crash_ends_the_task(tx: Tx) -> None:
    job, worker_id = sent_and_taken(tx), 1
    for crashes in (1, 2):
        assert rescue(tx, worker_id=worker_id) == (1, 0)
        worker_id += 1
        [job] = revived(tx, worker_id=worker_id)
        assert job.crashes == crashes
    assert rescue(tx, worker_id=worker_id) == (0, 1)
    assert (stored(tx, job.id).state, stored(tx, job.id).attempt) == ("FAILURE", 3)
    error = error_of(tx, job)
    assert type(error) is WorkerLostError
    assert str(error) == ("worker node/0 was killed; it was running at 3 such ends of a worker (lavoro_max_crashes)")
    assert value(tx, "select crashes from lavoro.finished") == 3


def test_from_the_second_crash_on_the_starts_are_spread(tx: Tx) -> None:
    tasks.insert(tx, [message() for _ in range(20)])
    rows(tx, "update lavoro.waiting set crashes = 1 returning 1")
    take(tx)
    assert rescue(tx) == (20, 0)
    assert value(tx, "select count(distinct due_at) from lavoro.waiting") == 20
    assert value(tx, "select max(due_at) < clock_timestamp() + interval '10 seconds' from lavoro.waiting")


def test_a_task_that_may_start_only_once_ends(tx: Tx) -> None:
    once, twice = sent_and_taken(tx, options='{"acks_late":false}'), sent_and_taken(tx, options='{"acks_late":true}')
    assert rescue(tx, Ending.crashed(KILLED, [])) == (1, 1)
    assert stage_of(tx, twice.id) == "waiting"
    assert type(error_of(tx, once)) is WorkerLostError
    assert str(error_of(tx, once)) == "worker node/0 was killed; with acks_late=False it starts only once"


def test_the_culprit_of_a_hard_time_limit_ends(tx: Tx) -> None:
    culprit, neighbour = sent_and_taken(tx), sent_and_taken(tx)
    assert rescue(tx, Ending.timed_out(culprit.id)) == (1, 1)
    assert type(error_of(tx, culprit)) is TimeLimitExceeded
    assert str(error_of(tx, culprit)) == "the task ran past its hard time limit"
    assert [(job.id, job.crashes) for job in revived(tx)] == [(neighbour.id, 0)]


def test_what_has_ended_with_a_rescue_is_kept_for_its_handlers(tx: Tx, opened: Callable[[], Tx]) -> None:
    """One process takes each of the tasks that it knows, the oldest first; what nobody takes is forgotten in time."""
    options = '{"acks_late":false}'
    first, second = sent_and_taken(tx, options=options), sent_and_taken(tx, options=options, name="test.other")
    sent_and_taken(tx)
    tasks.revoke(tx, [second.id], cancel='{"signal": "SIGKILL"}')
    assert rescue(tx) == (1, 2)
    assert unhandled.take(tx, 2, ["unheard of"]) is None
    other = opened()
    with tx.connection.transaction():
        taken = unhandled.take(tx, 2, ["test.add"])
        assert unhandled.take(other, 3, ["test.add"]) is None
    assert unhandled.take(other, 3, ["test.add"]) is None
    assert taken is not None
    assert taken.job == first._replace(crashes=1)
    assert type(serialization.loads_exception(serialization.loads(taken.error))) is WorkerLostError
    assert taken.cancel is None
    rows(tx, "delete from lavoro.finished where id = %s returning 1", second.id)
    names = ["test.add", "test.other"]
    assert unhandled.take(tx, 3, names) == (second.id, None, "", '{"signal": "SIGKILL"}')
    assert unhandled.take(tx, 3, names) is None
    unhandled.drop(tx, 2, second.id)
    assert value(tx, "select count(*) from lavoro.unhandled") == 2
    unhandled.drop(tx, 3, second.id)
    for worker_id in (2, 3):  # a process that is gone has not called them
        rescue(tx, worker_id=worker_id)
        retaken = unhandled.take(tx, worker_id + 1, names)
        assert retaken is not None
        assert retaken.id == first.id
    rescue(tx, worker_id=4)
    assert unhandled.take(tx, 5, names) is None


def test_what_nobody_handles_is_forgotten(tx: Tx) -> None:
    for hours in (1, 3):
        made = f"clock_timestamp() - interval '{hours} hours'"
        rows(tx, f"insert into lavoro.unhandled values (gen_random_uuid(), 'x', {made}) returning 1")
    workers.forget_old(tx, kept=None)
    assert value(tx, "select count(*) from lavoro.unhandled") == 2
    workers.forget_old(tx, kept=7200.0)
    assert value(tx, "select count(*) from lavoro.unhandled") == 1


def test_a_task_that_was_being_cancelled_ends_as_revoked(tx: Tx) -> None:
    job = sent_and_taken(tx)
    tasks.revoke(tx, [job.id], cancel="{}")
    assert rescue(tx) == (0, 1)
    assert stored(tx, job.id).state == "REVOKED"


def test_callers_and_claimers_are_told(tx: Tx, opened: Callable[[], Tx]) -> None:
    ends, waits = sent_and_taken(tx, options='{"acks_late":false}'), sent_and_taken(tx, queue="b")
    ears = opened().connection
    ears.execute("listen lavoro_done")
    ears.execute("listen lavoro_wake")
    rescue(tx)
    heard = {(n.channel, n.payload) for n in ears.notifies(timeout=30, stop_after=2)}
    assert heard == {("lavoro_done", str(ends.id)), ("lavoro_wake", "back:b")}
    assert stage_of(tx, waits.id) == "waiting"


def test_a_task_that_was_sent_again_meanwhile_does_not_stop_a_rescue(tx: Tx) -> None:
    job, other = sent_and_taken(tx), sent_and_taken(tx)
    tasks.insert(tx, [message(id=job.id)])
    rescue(tx)
    assert {again.id for again in revived(tx)} == {job.id, other.id}


def test_a_rescue_is_part_of_its_transaction(tx: Tx) -> None:
    job, worker_id = sent_and_taken(tx), 1
    with tx.connection.transaction(force_rollback=True):
        assert [
            part.waiting for part in workers.rescue(tx, Rescue(worker_id, Ending.expired("gone")), max_crashes=3)
        ] == [1]
    assert stage_of(tx, job.id) == "running"
    assert workers.renew(tx, [worker_id]).live == {worker_id}


def test_a_released_task_is_not_rescued(tx: Tx) -> None:
    job = sent_and_taken(tx)
    tasks.requeue(tx, 1, [outcome.released(job)])
    assert rescue(tx) == (0, 0)
    assert send(tx) is not None
