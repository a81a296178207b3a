"""Task ids sort by time, never repeat, and stand for any text."""

from __future__ import annotations

import os
import random
import time
import uuid

import pytest

from lavoro.protocol.ids import task_uuid, uuid7


def test_version_and_variant() -> None:
    made = uuid7()
    assert made.version == 7
    assert made.variant == uuid.RFC_4122


def test_the_time_is_in_front() -> None:
    before = time.time_ns() // 1_000_000
    made = uuid7()
    assert before <= made.int >> 80 <= time.time_ns() // 1_000_000


def test_ids_of_one_process_sort_by_the_time_they_were_made() -> None:
    made = []
    for _ in range(200):
        made.append(uuid7())
        now = time.time_ns()
        while time.time_ns() - now < 1_000:  # the clock in the id goes on every quarter of a microsecond
            pass
    assert made == sorted(made)


def test_ids_do_not_repeat() -> None:
    assert len({uuid7() for _ in range(50_000)}) == 50_000


def test_a_seed_changes_nothing() -> None:
    random.seed(1)
    first = uuid7()
    random.seed(1)
    assert uuid7().int & (1 << 62) - 1 != first.int & (1 << 62) - 1


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_fork_makes_ids_of_its_own() -> None:
    uuid7()  # what it was made of may not serve two processes
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, uuid7().bytes)
        os._exit(0)
    mine = uuid7()
    theirs = uuid.UUID(bytes=os.read(reading, 16))
    os.waitpid(child, 0)
    os.close(reading)
    os.close(writing)
    assert mine.int & (1 << 62) - 1 != theirs.int & (1 << 62) - 1


def test_a_uuid_stands_for_itself() -> None:
    made = uuid7()
    assert task_uuid(made) is made
    assert task_uuid(str(made)) == made


@pytest.mark.parametrize(
    "text",
    [
        "", "my-task", "ü🚚", "a" * 1000, "{6f0c8b52-0a3d-5a6e-9a57-3c1f7d1b9e24}", "6f0c8b520a3d5a6e9a573c1f7d1b9e24",
        "6F0C8B52-0A3D-5A6E-9A57-3C1F7D1B9E24", "urn:uuid:6f0c8b52-0a3d-5a6e-9a57-3c1f7d1b9e24",
    ],
)  # fmt: skip
def test_any_other_text_has_a_uuid_of_its_own(text: str) -> None:
    found = task_uuid(text)
    assert found.version == 5
    assert found == task_uuid(text)
    assert str(found) != text
    assert found != task_uuid(text + "x")
