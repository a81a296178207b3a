"""Actions on all tasks that match: in batches, with progress, and from a cursor on."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable
from threading import Thread
from typing import Any

import psycopg
import pytest

from lavoro import Lavoro
from lavoro.exceptions import ActionInterrupted, InspectorError
from lavoro.inspector import Count, Inspector, Report
from lavoro.store import tasks
from lavoro.store.tx import Tx
from tests.inspector.walking import ERROR, chord, failed
from tests.store.walk import rows, send, sent_and_taken, succeeded, take, value


def states(tx: Tx) -> dict[str, int]:
    return dict(rows(tx, "select state, count(*)::int from lavoro.tasks group by 1"))


def test_revoke_all_that_match(tx: Tx, inspector: Inspector) -> None:
    running = sent_and_taken(tx, queue="mail")
    sent = [send(tx, queue="mail") for _ in range(25)]
    other = send(tx)
    _, held = chord(tx, queue="other")
    tx.connection.execute("update lavoro.held set queue = 'mail'")
    told: list[Report] = []
    report = inspector.where(queue="mail").revoke(batch=10, progress=told.append)
    assert (report.done, report.asked, report.skipped, report.complete, report.cursor) == (26, 1, 0, True, None)
    assert [(each.done + each.asked, each.complete) for each in told] == [(10, False), (20, False), (27, True)]
    assert value(tx, "select count(*) from lavoro.finished where state = 'REVOKED'") == 26
    assert {id for [id] in rows(tx, "select id from lavoro.waiting where queue = 'celery'")} == {other}
    assert value(tx, "select cancel is not null from lavoro.running where id = %s", running.id)
    assert {*sent, held} == {id for [id] in rows(tx, "select id from lavoro.finished")}


def test_replay_all_of_an_error(tx: Tx, inspector: Inspector) -> None:
    wanted = {failed(tx) for _ in range(12)}
    failed(tx, ERROR.replace("ValueError", "KeyError"))
    report = inspector.where(error="ValueError").replay(batch=5)
    assert (report.action, report.done, report.complete) == ("replay", 12, True)
    assert {job.id for job in take(tx)} == wanted
    assert states(tx) == {"STARTED": 12, "FAILURE": 1}


def test_successes_are_replayed_only_by_name(tx: Tx, inspector: Inspector) -> None:
    jobs = [sent_and_taken(tx) for _ in range(3)]
    tasks.finish(tx, 1, [succeeded(job) for job in jobs])
    report = inspector.where(name="test.*").replay()
    assert (report.done, report.skipped) == (0, 3)
    assert inspector.where(name="test.*").replay(state="SUCCESS").done == 3


def test_delete_spares_running_tasks_and_those_that_others_wait_for(tx: Tx, inspector: Inspector) -> None:
    sent_and_taken(tx)
    failed(tx, queue="other")
    [_, body] = chord(tx, members=3)
    send(tx)
    report = inspector.where(name="test.add").delete()
    assert (report.done, report.awaited) == (2, 3)
    assert states(tx) == {"STARTED": 1, "PENDING": 4}
    report = inspector.where(name="test.add").delete(cascade=True)
    assert (report.done, report.awaited) == (3, 0)
    assert rows(tx, "select state from lavoro.finished where id = %s", body) == [("FAILURE",)]


def test_the_other_actions(tx: Tx, inspector: Inspector) -> None:
    for _ in range(5):
        send(tx, countdown=60.0)
    selection = inspector.where(stage="scheduled")
    assert selection.move("mail").done == 5
    assert selection.reprioritise(3).done == 5
    assert inspector.where(queue="mail").run_now(batch=2).done == 5
    assert (
        value(tx, "select count(*) from lavoro.waiting where queue = 'mail' and priority = 3 and due_at <= now()") == 5
    )
    assert inspector.where(queue="mail").reschedule(dt.timedelta(hours=1)).done == 5
    assert selection.count() == Count(5)


def test_preview(tx: Tx, inspector: Inspector) -> None:
    sent = [str(send(tx, queue="mail")) for _ in range(12)]
    send(tx)
    preview = inspector.where(queue="mail").preview(3)
    assert (preview.count, [task.id for task in preview.examples]) == (Count(12), sent[:3])
    assert str(preview.count) == "12"


def test_a_large_number_is_an_estimate(tx: Tx, inspector: Inspector) -> None:
    tx.connection.execute("""
        insert into lavoro.finished
            (id, state, queue, priority, attempt, retries, crashes, due_at, created_at, name)
        select gen_random_uuid(), 'SUCCESS', case when i % 4 = 0 then 'mail' else 'celery' end,
            0, 1, 0, 0, now(), now(), 'noop' from generate_series(1, 150000) i""")
    tx.connection.execute("analyze lavoro.finished")
    count = inspector.where(queue="mail").count()
    assert not count.exact
    assert count.value == pytest.approx(37_500, rel=0.2)
    assert str(count) == f"about {count.value:,}"


def test_an_interrupted_action_says_what_it_did_and_goes_on(app: Lavoro, tx: Tx, inspector: Inspector) -> None:
    """The database refuses the third batch."""
    sent = {send(tx) for _ in range(30)}
    told: list[Report] = []
    table = "lavoro.finished_failure"

    def progress(report: Report) -> None:
        told.append(report)
        if len(told) == 2:
            tx.connection.execute(f"alter table {table} add constraint full_disk check (false) not valid")

    selection = inspector.where(queue="celery")
    with pytest.raises(
        ActionInterrupted, match=r"revoke ended early: 20 tasks revoked; go on with cursor='\S+': the data"
    ) as e:
        selection.revoke(batch=10, progress=progress)
    report = e.value.report
    assert (report.done, report.complete) == (20, False)
    assert selection.report == report
    assert value(tx, "select count(*) from lavoro.finished") == 20
    tx.connection.execute(f"alter table {table} drop constraint full_disk")
    rest = inspector.where(queue="celery").revoke(batch=10, cursor=report.cursor)
    assert (rest.done, rest.complete) == (10, True)
    assert {id for [id] in rows(tx, "select id from lavoro.finished")} == sent


def test_an_interruption_by_hand_leaves_the_report(tx: Tx, inspector: Inspector) -> None:
    for _ in range(30):
        send(tx)

    def progress(report: Report) -> None:
        raise KeyboardInterrupt

    selection = inspector.where(queue="celery")
    with pytest.raises(KeyboardInterrupt):
        selection.revoke(batch=10, progress=progress)
    assert selection.report is not None
    assert (selection.report.done, selection.report.complete) == (10, False)
    assert inspector.where(queue="celery").revoke(cursor=selection.report.cursor).done == 20


def test_tasks_that_are_replayed_twice_at_once_start_once(tx: Tx, inspector: Inspector, migrated_url: str) -> None:
    """Two operators press the button: each task is replayed by one of them."""
    wanted = [failed(tx) for _ in range(20)]
    with psycopg.connect(migrated_url) as other:
        other.execute("select from lavoro.finished where id = %s for update", (wanted[3],))
        reports: list[Report] = []
        threads = [Thread(target=lambda: reports.append(inspector.where(state="FAILURE").replay())) for _ in range(2)]
        for thread in threads:
            thread.start()
        waiting = (
            "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
        )
        while value(tx, waiting) < 2:
            pass
        other.rollback()
        for thread in threads:
            thread.join(60)
    assert sum(report.done for report in reports) == 20
    assert sorted(job.id for job in take(tx)) == sorted(wanted)
    assert value(tx, "select count(*) from lavoro.attempt") == 20


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda i: i.where(stage="running").delete(), "cannot delete tasks of the stage running: revoke it with"),
        (lambda i: i.where(stage="finished").run_now(), "cannot run now tasks of the stage finished"),
        (lambda i: i.where(stat="FAILURE"), "there is no filter 'stat': did you mean state?"),
        (lambda i: i.where(colour="red"), "there is no filter 'colour'; there are queue, state, stage"),
        (lambda i: i.where().revoke(batch=0), "limit is a whole number from 1 to 1,000, not 0"),
        (lambda i: i.where().revoke(cursor="x"), "'x' is no cursor"),
    ],
    ids=["stage", "other stage", "close", "unknown", "batch", "cursor"],
)
def test_wrong_questions(inspector: Inspector, call: Callable[[Any], Any], text: str) -> None:
    with pytest.raises(InspectorError, match=text):
        call(inspector)


def test_nothing_matches(tx: Tx, inspector: Inspector) -> None:
    assert inspector.where(queue="nowhere").revoke().done == 0
    assert uuid.UUID(int=0) not in {job.id for job in take(tx)}
