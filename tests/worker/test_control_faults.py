"""Commands where a part fails: no notifications, a worker that is killed before it answers."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import pytest

from lavoro import Lavoro
from tests.conftest import Eventually
from tests.worker.conftest import PATIENCE, StartWorker, rows

COMMANDED = "tests.worker.commanded"
TAKEN = """
select taken_at is not null, replied_at is not null
from lavoro.command_node join lavoro.command c on c.id = command_id where c.name = %s
"""


@pytest.mark.parametrize("pooled", ["0", "1"])
def test_commands_come_without_notifications(
    start_worker: StartWorker, sender: Lavoro, migrated_url: str, pooled: str
) -> None:
    """Behind a pooler that keeps notifications back, a worker looks four times in each lease."""
    start_worker(
        "-P", "threads", "-c", "1", "-n", "one@here", "--", f"lavoro.pooled={pooled}",
        url=migrated_url, environment={"TEST_LEASE": "4"}, app=COMMANDED,
    )  # fmt: skip
    listeners = rows(sender, "select 1 from pg_stat_activity where application_name = 'lavoro-listener'")
    assert bool(listeners) == (pooled == "0")
    for _ in range(3):
        began = time.monotonic()
        assert sender.control.ping(timeout=PATIENCE) == [{"one@here": {"ok": "pong"}}]
        assert sender.control.inspect("one@here", timeout=PATIENCE)._request("limits") == [None, None]
        assert time.monotonic() - began < 10  # two looks take up to 2 s


def test_a_worker_that_is_killed_before_it_answers(
    start_worker: StartWorker, sender: Lavoro, migrated_url: str, eventually: Eventually
) -> None:
    """The caller waits no longer than its timeout; the audit shows that the command was taken and has no reply."""
    worker = start_worker("-P", "threads", "-c", "1", "-n", "one@here", url=migrated_url, app=COMMANDED)
    began = time.monotonic()
    assert sender.control.broadcast("hangs", reply=True, timeout=0.5) == []
    assert sender.control.inspect(timeout=0.5)._request("hangs") is None
    for process in [worker.process.pid, *(child.pid for child in worker.children)]:
        os.kill(process, signal.SIGKILL)
    assert sender.control.ping(timeout=0.5) == []
    assert time.monotonic() - began < PATIENCE / 2
    assert [tuple(row) for row in rows(sender, TAKEN.replace("%s", "'hangs'"))] == [(True, False)] * 2
    assert [tuple(row) for row in rows(sender, TAKEN.replace("%s", "'ping'"))] == [(False, False)]


def test_a_command_that_its_supervisor_had_taken_is_lost_with_it(
    start_worker: StartWorker, sender: Lavoro, migrated_url: str, eventually: Eventually
) -> None:
    """It is carried out at most once: the next worker of that name takes what was not taken, unless it has expired."""
    worker = start_worker("-P", "threads", "-c", "1", "-n", "one@here", url=migrated_url, app=COMMANDED)
    sender.control.broadcast("hangs")
    eventually(lambda: rows(sender, TAKEN.replace("%s", "'hangs'"))[0][0], timeout=PATIENCE, why="it is taken")
    children = [child.pid for child in worker.children]
    for process in [worker.process.pid, *children]:
        os.kill(process, signal.SIGKILL)
    sender.control.broadcast("resize_cache", {"size": 3})  # the lease of the dead one has not expired
    sender.control.broadcast("resize_cache", {"size": 4}, expires=0)
    start_worker("-P", "threads", "-c", "1", "-n", "one@here", url=migrated_url, app=COMMANDED)
    replies: Any = "select reply from lavoro.command_node join lavoro.command c on c.id = command_id where c.name = "
    eventually(
        lambda: [row[0] for row in rows(sender, replies + "'resize_cache' and replied_at is not null")]
        == [{"ok": "one@here: 1 of 3"}],
        timeout=PATIENCE, why="it is taken by the next",
    )  # fmt: skip
    assert rows(sender, replies + "'hangs' and replied_at is not null") == []
