"""Checks of the server: its durability, clock and connections."""

from __future__ import annotations

from collections.abc import Iterator

from lavoro.monitoring.doctor.exam import Exam, Finding
from lavoro.text.commands import command
from lavoro.text.plural import counted


def unsafe_settings(exam: Exam) -> Iterator[Finding]:
    """A crash of the server loses nothing."""
    for (name,) in exam.rows("unsafe_settings"):
        yield Finding(
            "durability", name, "is off: a crash of the server can lose tasks that were reported as stored",
            f"alter system set {name} = on; select pg_reload_conf();",
        )  # fmt: skip


def clock_skew(exam: Exam) -> Iterator[Finding]:
    """This machine's clock and the server's agree."""
    before = exam.clock()
    [[theirs]] = exam.rows("server_time")
    after = exam.clock()
    skew = theirs - (before + after) / 2
    if abs(skew) > exam.skew + (after - before):
        yield Finding(
            "clock", "this machine",
            f"is {abs(skew):.1f} s {'behind' if skew > 0 else 'ahead of'} the database: an eta that is computed"
            " here is met so much too early or too late (countdown and leases are not touched by it)",
            "-- let both machines ask the same time server (chrony, systemd-timesyncd)",
        )  # fmt: skip


def tasks_from_the_future(exam: Exam) -> Iterator[Finding]:
    """No task was stored in the future, before the clock was set back."""
    [[tasks, seconds, at_once]] = exam.rows("tasks_from_the_future")
    if tasks:
        yield Finding(
            "clock", "waiting",
            f"{counted(tasks, 'task was', 'tasks were')} stored up to {seconds:.0f} s in the future, because"
            f" the database's clock was set back; {counted(at_once, 'is', 'are')} due at once, and must wait until a"
            " worker starts or notices the change; the others keep their time",
            command("worker") if at_once else _OTHERS,
        )  # fmt: skip


_OTHERS = "-- nothing, or revoke those that would start too late; let a time server keep the database's clock"


def used_connections(exam: Exam) -> Iterator[Finding]:
    """Connections are free."""
    [[used, most, workers]] = exam.rows("used_connections")
    if used > exam.full * most:
        yield Finding(
            "connections", "max_connections",
            f"{used} of {most} connections are in use; Lavoro's live workers need {workers} of them, besides what"
            " their tasks open",
            f"alter system set max_connections = {2 * most};  -- and restart; or a pooler, or smaller pools"
            " (broker_pool_limit, and the applications' own)",
        )  # fmt: skip


def pooler(exam: Exam) -> Iterator[Finding]:
    """There is a way past a pooler to the server."""
    if exam.pooled and exam.direct_url is None:
        yield Finding(
            "pooler", "lavoro_direct_url",
            "is not set, and the pooler passes no notifications on: workers and get() poll, and start later",
            "-- set lavoro_direct_url to the server's own address, past the pooler",
        )  # fmt: skip
