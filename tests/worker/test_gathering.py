"""A body of a small chord has the results of its header when it is claimed; any other reads them at its start."""

from __future__ import annotations

from typing import Any

import pytest

from lavoro.exceptions import ChordError
from lavoro.protocol.ids import uuid7
from lavoro.protocol.message import Job, Packed
from lavoro.protocol.place import Place
from lavoro.store import tasks
from lavoro.store.database import Database
from lavoro.store.tx import Tx
from lavoro.worker.child.gathering import read_ahead, reader
from tests.store.walk import WORKER, lane, message, registered, succeeded, take

NOWHERE: Any = None
"""A database that is not asked."""


@pytest.fixture(autouse=True)
def worker(tx: Tx) -> None:
    """The one that claims."""
    assert registered(tx) == WORKER


def ended_chord(tx: Tx, *results: str, **body: Any) -> None:
    """Have a chord whose members have ended with these results; its body waits in the queue `bodies`."""
    barrier = uuid7()
    members = [message(place=Place(f'{{"{barrier}":{index}}}')) for index in range(len(results))]
    held = message(
        queue="bodies", place=Place(held_for=barrier, expects=len(results)), options=f'{{"gathers":"{barrier}"}}',
    )  # fmt: skip
    tasks.insert(tx, [*members, held._replace(**body)])
    outcomes = [succeeded(job, result) for job, result in zip(take(tx), results, strict=True)]
    tasks.finish(tx, 1, outcomes)


def bodies(tx: Tx) -> list[Job]:
    return read_ahead(tx, take(tx, lane("bodies")))


def test_the_results_come_with_the_claim(tx: Tx) -> None:
    ended_chord(tx, "1", '"é"')
    ended_chord(tx, "null")
    read = reader(NOWHERE, frozenset(), 1000)
    assert sorted((read(job.read_options()["gathers"]) for job in bodies(tx)), key=len) == [[None], [1, "é"]]


def test_a_limit_holds_for_them(tx: Tx, migrated_url: str) -> None:
    ended_chord(tx, "1", "2")
    [job] = bodies(tx)
    database = Database(migrated_url)
    with pytest.raises(ChordError, match="the 2 results that this task gathers have 2 bytes"):
        reader(database, frozenset(), 1)(job.read_options()["gathers"])
    database.dispose()


def test_the_options_are_still_what_they_say(tx: Tx) -> None:
    """A retry sends them again."""
    ended_chord(tx, "1")
    [job] = bodies(tx)
    assert isinstance(job.options, Packed)
    assert Job._make(job)._replace(options=str(job.options)).read_options() == job.read_options()


def test_a_body_whose_results_are_large_is_left_as_it_is(tx: Tx) -> None:
    ended_chord(tx, f'"{"x" * 9000}"')
    [job] = bodies(tx)
    assert type(job.options) is str


@pytest.mark.parametrize("options", ['{"gathers":1}', '{"gathers":"x"}', '["gathers"]', '{"x":{"gathers":"x"}}'])
def test_strange_options_are_left_for_the_run(tx: Tx, options: str) -> None:
    ended_chord(tx, "1", options=options)
    [job] = bodies(tx)
    assert job.options == options
    assert type(job.options) is str


def test_a_lost_connection_leaves_that_for_the_run(tx: Tx) -> None:
    ended_chord(tx, "1")
    jobs = take(tx, lane("bodies"))
    tx.connection.close()
    assert read_ahead(tx, jobs) == jobs
    assert type(jobs[0].options) is str


def test_jobs_without_bodies_are_not_looked_at() -> None:
    jobs: list[Job] = []
    assert read_ahead(NOWHERE, jobs) is jobs
