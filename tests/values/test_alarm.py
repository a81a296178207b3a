"""The alarm ends a wait in select(), never blocks, and keeps nothing open."""

from __future__ import annotations

import fcntl
import os
import resource
import select
from pathlib import Path

import pytest

from lavoro.runtime.alarm import Alarm, readable


def rings(alarm: Alarm) -> bool:
    return bool(select.select([alarm], [], [], 0)[0])


def test_a_ring_ends_the_wait_until_it_is_silenced() -> None:
    alarm = Alarm()
    alarm.open()
    assert not rings(alarm)
    alarm.ring()
    alarm.ring()
    assert rings(alarm)
    alarm.silence()
    assert not rings(alarm)
    os.write(alarm.writer, b"\x0f")  # a signal
    assert rings(alarm)
    alarm.close()


def test_ringing_never_blocks() -> None:
    alarm = Alarm()
    alarm.open()
    for _ in range(100_000):
        alarm.ring()
    alarm.silence()
    alarm.silence()
    alarm.close()


def test_nothing_is_open_before_and_after() -> None:
    """A ring must not be written into the file that has got its number since."""
    before = len(list(Path("/proc/self/fd").iterdir()))
    alarm = Alarm()
    alarm.ring()
    alarm.open()
    reader = alarm.fileno()
    alarm.close()
    pipe = os.pipe()
    assert reader in pipe
    alarm.ring()
    assert not select.select([pipe[0]], [], [], 0)[0]
    for end in pipe:
        os.close(end)
    alarm.close()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_descriptors_beyond_those_that_select_knows_can_be_waited_for() -> None:
    reader, writer = os.pipe()
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(limit[0], 2000), limit[1]))
    try:
        high = fcntl.fcntl(reader, fcntl.F_DUPFD, 1500)
        os.write(writer, b"!")
        assert readable([high], 60.0) == {high}
        assert readable([high, writer], 60.0) == {high}
        os.close(high)
        with pytest.raises(ValueError, match=f"descriptor {high} is not open"):
            readable([high], 60.0)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limit)
        os.close(reader)
        os.close(writer)
