"""Which ticks of a schedule are sent, and which are skipped."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from lavoro import Lavoro
from lavoro.beat.planning import COUNTED, LATE, plan, upcoming
from lavoro.schedules import BaseSchedule, crontab, schedule
from lavoro.store.schedules import Due

NOON = datetime(2026, 5, 4, 12, tzinfo=timezone.utc)
APP = Lavoro("planning", set_as_current=False)
TASK = uuid.uuid4()


def at(*clock: int, seconds: float = 0) -> datetime:
    return NOON.replace(hour=clock[0], minute=clock[1] if len(clock) > 1 else 0) + timedelta(seconds=seconds)


def row(now: datetime, **changes: Any) -> Due:
    """A schedule that was due at noon, as its row would have it."""
    usual = Due(
        "it", "task", None, None, None, "text", None, False, "once", 100, None, "skip", 0.0, None, None, None,
        NOON, NOON, NOON - timedelta(days=1), 5, None, None, now,
    )  # fmt: skip
    return usual._replace(**changes)


EVERY = schedule(600, app=APP)


def test_a_tick_in_time() -> None:
    found = plan(EVERY, row(at(12, seconds=1)))
    assert [(each.at, each.eta, each.late) for each in found.send] == [(NOON, None, False)]
    assert (found.skip, found.next_at, found.due_at) == ([], at(12, 10), at(12, 10))


def test_a_tick_ahead_of_its_time_has_it_as_eta() -> None:
    found = plan(EVERY, row(at(11, 59, seconds=59.5), due_at=at(12, seconds=0.3)))
    assert [(each.at, each.eta) for each in found.send] == [(NOON, at(12, seconds=0.3))]
    assert found.next_at == at(12, 10)


def test_a_definition_that_is_new_is_only_computed() -> None:
    found = plan(EVERY, row(at(12, 5), next_at=None, due_at=None, since=at(12, 4)))
    assert (found.send, found.next_at) == ([], at(12, 14))


def test_the_first_time_of_a_definition_is_kept_though_it_has_passed() -> None:
    """A worker may see a new row only after its first time, which is then late and not lost."""
    found = plan(crontab(minute=0, app=APP), row(at(12, 0, seconds=0.1), next_at=None, due_at=None, since=at(11, 59)))
    assert (found.send, found.next_at) == ([], NOON)


@pytest.mark.parametrize(
    ("when", "first"),
    [(EVERY, at(15)), (crontab(minute=30, app=APP), at(15, 30)), (crontab(minute=0, app=APP), at(15))],
)
def test_a_start_is_the_first_time_of_an_interval(when: Any, first: datetime) -> None:
    assert plan(when, row(NOON, next_at=None, due_at=None, since=NOON, starts_at=at(15))).next_at == first


@pytest.mark.parametrize(("now", "late"), [(at(12, 31), False), (at(12, 35), True)])
def test_once_sends_the_last_of_the_missed(now: datetime, late: bool) -> None:
    found = plan(EVERY, row(now))
    assert [(each.at, each.late) for each in found.send] == [(at(12, 30), late)]
    [skipped] = found.skip
    assert (skipped.at, skipped.until, skipped.times) == (NOON, at(12, 20), 3)
    assert found.next_at == at(12, 40)


def test_skip_sends_none_of_the_missed() -> None:
    found = plan(EVERY, row(at(12, 35), missed="skip"))
    assert found.send == []
    assert [(each.at, each.until, each.times) for each in found.skip] == [(NOON, at(12, 30), 4)]
    in_time = plan(EVERY, row(at(12, 30, seconds=LATE), missed="skip"))
    assert [each.at for each in in_time.send] == [at(12, 30)]


def test_all_sends_all_one_after_the_other() -> None:
    found = plan(EVERY, row(at(12, 35), missed="all"))
    assert [(each.at, each.late, each.behind) for each in found.send] == [
        (NOON, True, False), (at(12, 10), True, True), (at(12, 20), True, True), (at(12, 30), True, True),
    ]  # fmt: skip
    both = plan(EVERY, row(at(12, 35), missed="all", overlap="allow"))
    assert not any(each.behind for each in both.send)


@pytest.mark.parametrize("caps", [{"missed_most": 2}, {"missed_age": 1000.0}])
def test_all_has_caps(caps: dict[str, Any]) -> None:
    found = plan(EVERY, row(at(12, 35), missed="all", **caps))
    assert [each.at for each in found.send] == [at(12, 20), at(12, 30)]
    assert [(each.at, each.until, each.times) for each in found.skip] == [(NOON, at(12, 10), 2)]


@pytest.mark.parametrize("stage", ["waiting", "running", "held"])
@pytest.mark.parametrize("overlap", ["skip", "allow", "queue", "cancel"])
def test_a_tick_meets_the_run_of_the_one_before(overlap: str, stage: str) -> None:
    found = plan(EVERY, row(at(12, 1), overlap=overlap, last_task_id=TASK, last_stage=stage))
    if overlap == "skip" or (overlap, stage) == ("queue", "held"):
        assert found.send == []
        assert [(each.at, each.times) for each in found.skip] == [(NOON, 1)]
        assert str(TASK) in found.skip[0].reason
    else:
        assert [(each.at, each.behind) for each in found.send] == [(NOON, overlap == "queue")]
        assert found.skip == []
    assert found.cancel == (overlap == "cancel")
    assert found.next_at == at(12, 10)


def test_the_end_and_the_most_runs() -> None:
    assert plan(EVERY, row(at(12, 1), ends_at=at(12, 9))).next_at is None
    assert plan(EVERY, row(at(12, 1), most_runs=6)).next_at is None
    last = plan(EVERY, row(at(12, 35), missed="all", most_runs=7))
    assert ([each.at for each in last.send], last.next_at) == ([NOON, at(12, 10)], None)
    ended = plan(EVERY, row(at(13), ends_at=at(12, 15)))
    assert [each.at for each in ended.send] == [at(12, 10)]
    assert ended.next_at is None


def test_jitter_delays_and_never_moves_the_time() -> None:
    found = plan(EVERY, row(at(12, 1), jitter=60.0))
    assert found.next_at == at(12, 10)
    assert found.due_at is not None
    assert at(12, 10) <= found.due_at <= at(12, 11)


def test_a_long_outage_of_a_short_interval_is_counted_at_once() -> None:
    found = plan(schedule(0.1, app=APP), row(NOON + timedelta(days=3650)))
    [skipped] = found.skip
    assert skipped.times == 3650 * 86400 * 10
    assert [each.at for each in found.send] == [NOON + timedelta(days=3650)]


def test_a_long_outage_of_a_crontab_ends_with_its_last_time() -> None:
    found = plan(crontab(app=APP), row(NOON + timedelta(days=100, seconds=30)))
    [skipped] = found.skip
    assert skipped.times is None
    assert [each.at for each in found.send] == [NOON + timedelta(days=100)]
    assert skipped.until == NOON + timedelta(days=100, minutes=-1)
    assert COUNTED < 100 * 1440


class Estimating:
    """A schedule of Celery's kind: it can only tell how long the next run takes to come."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def remaining_estimate(self, last_run_at: datetime) -> timedelta:
        return timedelta(seconds=self.seconds)

    def is_due(self, last_run_at: datetime) -> tuple[bool, float]:
        return False, self.seconds


def test_a_schedule_that_only_estimates() -> None:
    assert plan(Estimating(30), row(at(12, 1))).next_at == at(12, 1, seconds=30)


class Backwards(BaseSchedule):
    def next_after(self, moment: datetime) -> datetime | None:
        return moment - timedelta(seconds=1)


def test_a_schedule_that_goes_back_is_an_error() -> None:
    with pytest.raises(ValueError, match="is not after"):
        plan(Backwards(app=APP), row(at(12, 1)))


def test_upcoming_times() -> None:
    times = upcoming(crontab(minute=0, hour="*/6", app=APP), NOON)
    assert [next(times) for _ in range(2)] == [at(18), at(0) + timedelta(days=1)]


@pytest.mark.parametrize(
    ("when", "deadline", "sent"),
    [
        (crontab(minute=0, app=APP), 600, True),
        (crontab(minute=0, app=APP), 299, False),
        (EVERY, 1, True),
    ],
)
def test_a_tick_of_a_crontab_is_skipped_after_the_deadline(when: Any, deadline: float, sent: bool) -> None:
    found = plan(when, row(at(12, 5), missed="once"), deadline=deadline)
    assert [each.at for each in found.send] == ([NOON] if sent else [])
    reasons = [(each.at, each.times, each.reason) for each in found.skip]
    assert reasons == ([] if sent else [(NOON, 1, "missed: later than beat_cron_starting_deadline")])
    assert found.next_at == (at(12, 10) if when is EVERY else at(13))
