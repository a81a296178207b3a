"""Mutants of statements: each is caught by the checker, and the statement without it is not."""

from __future__ import annotations

import datetime as dt
import re
import threading
import uuid
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest

from lavoro.store import changing, statements, tasks
from lavoro.store.schema.migrate import functions
from lavoro.store.workers import Ending
from tests.faults import canvases, limited
from tests.faults.plugin.rig_changes import with_another_line
from tests.faults.stage import Stage

TEXTS = {**statements.TEXTS, **functions()}
"""Statements and functions, by name."""


class Mutant(NamedTuple):
    """One planted bug: another line in the place of a marked one, and the invariant that must notice."""

    name: str
    invariant: str
    play: Callable[[Stage], None]
    statement: str
    mark: str
    new: str = ""


# The plays: each ends well without the mutant.


def met_again(stage: Stage) -> None:
    """The same worker gets a task twice, and the outcome of the first start comes late."""
    worker, id = stage.worker(), stage.send()
    [first] = stage.claim(worker)
    token = stage.start(first, worker)
    late = stage.end(first, token)
    stage.retry(worker, first)
    [second] = stage.claim(worker)
    token = stage.start(second, worker)
    stage.finish(worker, first, late)
    stage.finish(worker, second, stage.end(second, token))
    assert str(second.id) == id


def taken_back(stage: Stage) -> None:
    """A worker that was stopped did not end what it ran; it tells the outcome when another has begun it."""
    stopped, other = stage.worker(), stage.worker()
    stage.send()
    [job] = stage.claim(stopped)
    late = stage.end(job, stage.start(job, stopped))
    stage.rescue(stopped, Ending.stopped("it was stopped"))
    [again] = stage.claim(other)
    token = stage.start(again, other)
    stage.finish(stopped, job, late)
    stage.finish(other, again, stage.end(again, token))


def lease_in_force(stage: Stage) -> None:
    """Another node looks for leases that have run out while one is in force, though it was not renewed for long."""
    look_while_it_runs(stage, "seen_at = seen_at - interval '40 seconds'")


def clock_set_ahead(stage: Stage) -> None:
    """Another node, which has just seen the server's clock being set ahead, looks at a lease that ran out by it."""
    [[now]] = stage.connection.execute("select clock_timestamp()").fetchall()
    ahead = "seen_at = seen_at - interval '1 hour', expires_at = expires_at - interval '1 hour'"
    look_while_it_runs(stage, ahead, since=now)


def look_while_it_runs(stage: Stage, change: str, *, since: dt.datetime | None = None) -> None:
    mine, id = stage.worker(lease=30), stage.send()
    [job] = stage.claim(mine)
    token = stage.start(job, mine)
    stage.connection.execute(f"update lavoro.worker set {change}".encode())
    if stage.rescue_expired(since=since):
        theirs = stage.worker()
        [again] = stage.claim(theirs)
        second = stage.start(again, theirs)
        stage.beat(job, token)
        stage.finish(theirs, again, stage.end(again, second))
    else:
        stage.finish(mine, job, stage.end(job, token))
    assert id == str(job.id)


def crash(stage: Stage) -> None:
    """A worker dies and its task starts again."""
    worker = stage.worker()
    stage.send()
    [job] = stage.claim(worker)
    stage.start(job, worker)
    stage.rescue(worker)
    stage.run_to_the_end()


def try_again(stage: Stage) -> None:
    """A task is tried again."""
    worker = stage.worker()
    stage.send()
    [job] = stage.claim(worker)
    stage.start(job, worker)
    stage.retry(worker, job)
    stage.run_to_the_end()


def poison(stage: Stage) -> None:
    """A task kills its worker each time."""
    stage.send(detail={"poison": True, "expect": ["FAILURE"]})
    for _ in range(6):
        worker = stage.worker()
        stage.make_due()
        for job in stage.claim(worker):
            stage.start(job, worker)
            stage.rescue(worker, Ending.crashed("it crashed", [job.id]))


def finish_twice(stage: Stage) -> None:
    """The answer to a finish is lost, and it is sent again."""
    worker = stage.worker()
    stage.send()
    [job] = stage.claim(worker)
    result = stage.end(job, stage.start(job, worker))
    stage.finish(worker, job, result)
    stage.finish(worker, job, result)


def finish_two_twice(stage: Stage) -> None:
    """The answer to a finish of two tasks is lost, and it is sent again."""
    worker, _, _ = stage.worker(), stage.send(), stage.send()
    results = [(job, stage.end(job, stage.start(job, worker))) for job in stage.claim(worker)]
    stage.finish_all(worker, results, tx=stage.tx)
    stage.finish_all(worker, results, tx=stage.tx)


def plain(stage: Stage) -> None:
    """A task is sent and run."""
    stage.send({"a": [1, 2]})
    stage.run_to_the_end()


def rescue_meets_progress(stage: Stage) -> None:
    """A task reports its progress in the moment in which its worker is given up."""
    worker = stage.worker()
    stage.send()
    [job] = stage.claim(worker)
    stage.start(job, worker)
    other = stage.another()
    rescuing = threading.Thread(target=stage.rescue, args=(worker,))
    with other.connection.transaction():
        tasks.store_progress(other, worker, job, state="HALF", meta=None)
        rescuing.start()
        stage.until_somebody_waits()
    rescuing.join()
    other.connection.close()
    stage.run_to_the_end()


def claim_after_the_end(stage: Stage) -> None:
    """A worker that was given up claims once more, and is never heard of again."""
    lost = stage.worker()
    stage.rescue(lost)
    stage.send()
    for job in stage.claim(lost):
        stage.start(job, lost)
    stage.run_to_the_end()


def revoked(stage: Stage) -> None:
    """A waiting task is revoked."""
    id = stage.send(detail={"expect": ["REVOKED"]}, countdown=100.0)
    stage.revoke(id)


def replayed(stage: Stage) -> None:
    """A task that was revoked is replayed."""
    id = stage.send()
    stage.revoke(id)
    changing.replay(stage.tx, [uuid.UUID(id)])
    stage.run_to_the_end()


MET_AGAIN_FOLLOWED, TAKEN_BACK_FOLLOWED, TWICE_FOLLOWED = map(
    canvases.followed, (met_again, taken_back, finish_two_twice)
)
"""The same with outcomes that messages follow."""
MET_AGAIN_LINKED, TAKEN_BACK_LINKED, TWICE_LINKED = map(canvases.linked, (met_again, taken_back, finish_twice))
"""The same with outcomes that the next step of a chain follows."""
MUTANTS = [
    Mutant("finishing is fenced without the attempt", "I3", met_again, "finish_tasks", "attempt"),
    Mutant("finishing is fenced without the worker", "I3", taken_back, "finish_tasks", "worker"),
    Mutant(
        "finishing keeps the row", "I3", finish_two_twice,
        "finish_tasks", "delete", "update {schema}.running r set state = r.state",
    ),
    Mutant(
        "a task that ends alone is fenced without the attempt", "I3", met_again,
        "finish_task", "attempt", "and %(attempt)s > 0",
    ),
    Mutant(
        "a task that ends alone is fenced without the worker", "I3", taken_back,
        "finish_task", "worker", "and %(worker_id)s > 0",
    ),
    Mutant(
        "a task that ends alone keeps its row", "I3", finish_twice,
        "finish_task", "delete", "update {schema}.running set state = state",
    ),
    Mutant("leases are ended without looking at them", "I5", lease_in_force, "expire_lease", "expired"),
    Mutant(
        "leases are judged by the clock of a worker that goes fast", "I5", lease_in_force,
        "expire_lease", "expired", "and expires_at < statement_timestamp() + interval '10 minutes'",
    ),
    Mutant(
        "leases are judged by a clock that was set", "I5", clock_set_ahead,
        "expire_lease", "clock", "and statement_timestamp() - seen_at >= (expires_at - seen_at) / 2",
    ),
    Mutant("rescued tasks do not come back", "I1", crash, "rescue_tasks", "requeue", "where false"),
    Mutant("tasks to be tried again do not come back", "I1", try_again, "requeue_tasks", "requeue", "on false"),
    Mutant("a worker that was given up may claim", "I1", claim_after_the_end, "claim_tasks", "live"),
    Mutant("a lost start leaves no record", "I4", crash, "rescue_tasks", "lost", "where false"),
    Mutant("a retry leaves no record", "I4", try_again, "requeue_tasks", "record", "where false"),
    Mutant("crashes are not counted", "I6", poison, "rescue_tasks", "crash", "crashes,"),
    Mutant("a claim does not count the start", "I7", plain, "claim_tasks", "start", "attempt,"),
    Mutant("a revoked task leaves no outcome", "I7", revoked, "revoke_tasks", "outcome", "from taken where false"),
    Mutant("a replayed task does not come back", "I1", replayed, "replay_tasks", "again", "from gone where false"),
    Mutant("arguments are changed on their way", "I14", plain, "insert_tasks", "arguments", "'[2]'::json,"),
    Mutant("a loss has no reason", "I15", crash, "rescue_tasks", "reason", "null"),
    # Canvases
    Mutant(
        "a followed outcome is fenced without the attempt", "I3", MET_AGAIN_FOLLOWED, "finish_and_follow", "attempt"
    ),
    Mutant("a followed outcome is fenced without the worker", "I3", TAKEN_BACK_FOLLOWED, "finish_and_follow", "worker"),
    Mutant(
        "a followed outcome keeps its row", "I3", TWICE_FOLLOWED,
        "finish_and_follow", "delete", "update {schema}.running r set state = r.state",
    ),
    Mutant(
        "the end of a step is fenced without the attempt", "I3", MET_AGAIN_LINKED,
        "finish_link", "attempt", "and %(attempt)s > 0",
    ),
    Mutant(
        "the end of a step is fenced without the worker", "I3", TAKEN_BACK_LINKED,
        "finish_link", "worker", "and %(worker_id)s > 0",
    ),
    Mutant(
        "the end of a step keeps its row", "I3", TWICE_LINKED,
        "finish_link", "delete", "update {schema}.running set state = state",
    ),
    Mutant(
        "a step loses the barriers of the one before", "I10", canvases.member_is_a_chain,
        "finish_link", "inherited", "null::jsonb as barriers",
    ),
    Mutant(
        "the end of a followed task is not counted", "I10", canvases.with_callbacks,
        "finish_and_follow", "heir", "where false",
    ),
    Mutant(
        "the end of a member alone is not counted", "I10", canvases.one_by_one,
        "finish_task", "count", "case when false",
    ),
    Mutant("the ends of a batch are not counted", "I10", canvases.together, "finish_tasks", "count", "where false"),
    Mutant(
        "a member at its hard limit is not counted", "I10", canvases.member_overdue,
        "rescue_tasks", "count", "where false",
    ),
    Mutant(
        "a revoked member is not counted", "I10", canvases.member_revoked, "revoke_tasks", "count", "where false"
    ),
    Mutant(
        "a deleted member is not counted", "I10", canvases.member_deleted,
        "delete_waiting", "count", "from gone where false",
    ),
    Mutant(
        "a purged member is not counted", "I10", canvases.member_purged,
        "purge_tasks", "count", "from purged where false",
    ),
    Mutant("a retry loses its barriers", "I10", canvases.member_tried_again, "requeue_tasks", "kept", "null"),
    Mutant("a rescue loses the barriers", "I10", canvases.member_lost, "rescue_tasks", "kept", "null"),
    Mutant(
        "the end of a held member is not counted", "I10", canvases.held_member_revoked, "end_held", "held"
    ),
    Mutant(
        "a body starts when one member is left", "I10", canvases.half,
        "count_members", "zero", "if counted.ended_at is null and blamed is null and left_over <= 1 then",
    ),
    Mutant(
        "a failed member does not fail the body", "I10", canvases.member_fails,
        "count_members", "blame", "when counted.policy is null then null",
    ),
    Mutant(
        "an added member is not waited for", "I10", canvases.member_adds_another,
        "join_barriers", "joined", "remaining = remaining",
    ),
    Mutant(
        "a task in the place of a member is waited for, too", "I10", canvases.member_sent_again,
        "join_barriers", "place", "select where false",
    ),
    Mutant(
        "a step counts when the one before it has ended", "I10", canvases.steps_block,
        "hand_on", "step", "when s.key::uuid = any (p_ids) then ''",
    ),
    Mutant(
        "of two marks on a task the first is lost", "I10", canvases.steps_block,
        "mark_ancestor", "merged", "|| jsonb_build_object(key, p_marks)",
    ),
    Mutant(
        "a limit has room for all", "I16", limited.one_after_the_other, "take_slots", "room", "if false then"
    ),
    Mutant(
        "a slot is given back twice", "I16", limited.one_of_two_ends,
        "give_slots", "give", "taken = greatest(0, l.taken - 2 * f.number),",
    ),
    Mutant(
        "the slot of a task that ends alone is lost", "I16", limited.one_after_the_other, "finish_task", "slots", "null"
    ),
    Mutant("the slots of a batch are lost", "I16", limited.together, "finish_tasks", "slots", "null"),
    Mutant("the slot of a retry is lost", "I16", limited.tried_again, "requeue_tasks", "slots", "null"),
    Mutant("the slot of a lost worker is lost", "I16", limited.lost, "rescue_tasks", "slots", "null"),
]  # fmt: skip


ORDERLY = (taken_back, TAKEN_BACK_FOLLOWED, TAKEN_BACK_LINKED)
"""Plays in which a worker is told to stop."""
PLAYS = {mutant.play for mutant in MUTANTS} | {rescue_meets_progress}


@pytest.mark.parametrize("play", sorted(PLAYS, key=lambda play: play.__name__))
def test_plays_without_mutants(stage: Stage, play: Callable[[Stage], None]) -> None:
    play(stage)
    assert stage.violations(orderly=play in ORDERLY) == []


@pytest.fixture
def rendered_anew() -> Iterator[None]:
    """Have statements rendered in the test from their changed texts, and after it from their own."""
    statements.statement.cache_clear()
    statements.numbered.cache_clear()
    yield
    statements.statement.cache_clear()
    statements.numbered.cache_clear()


@pytest.mark.usefixtures("rendered_anew")
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name.replace(" ", "_"))
def test_mutant_is_caught(stage: Stage, monkeypatch: pytest.MonkeyPatch, mutant: Mutant) -> None:
    changed = with_another_line(TEXTS[mutant.statement], mutant.mark, mutant.new)
    if mutant.statement in statements.TEXTS:
        monkeypatch.setitem(statements.TEXTS, mutant.statement, changed)
    else:
        stage.connection.execute(statements.render(changed, "lavoro").encode(), prepare=False)
    mutant.play(stage)
    found = stage.violations(orderly=mutant.play in ORDERLY)
    assert mutant.invariant in {violation.invariant for violation in found}, found


def test_each_mark_has_a_mutant_and_each_mutant_a_mark() -> None:
    marks = [(name, mark) for name, text in TEXTS.items() for mark in re.findall("--@(.*)", text)]
    assert set(marks) == {(mutant.statement, mutant.mark) for mutant in MUTANTS}
    assert len(marks) == len(set(marks))


@pytest.mark.parametrize("text", ["select 1", "select 1 --@two", "select 1 --@one --", "select 1 --@one\n2 --@one"])
def test_a_mark_that_is_not_there_once_is_an_error(text: str) -> None:
    with pytest.raises(AssertionError, match="--@one marks [02] lines"):
        with_another_line(text, "one", "")
