"""Start-up functions of a fleet: one worker runs each, and another one only in its place."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from lavoro.store import startups, workers
from lavoro.store.startups import Standing, Startup
from lavoro.store.tx import Tx
from lavoro.store.workers import Ending, Rescue
from tests.store.walk import registered, rows

FILL = Startup("shop", "1.0", "shop.startup.fill")


def ended(tx: Tx, worker_id: int) -> None:
    workers.rescue(tx, Rescue(worker_id, Ending.expired("it is gone")), max_crashes=3)


def test_one_worker_runs_it_and_the_others_see_that(tx: Tx) -> None:
    first, second = registered(tx), registered(tx, process=1)
    assert startups.standing(tx, FILL) is None
    assert startups.begin(tx, FILL, worker_id=first)
    assert not startups.begin(tx, FILL, worker_id=second)
    assert startups.standing(tx, FILL) == Standing(False, "node@test/0")
    assert not startups.end(tx, FILL, worker_id=second)
    assert startups.end(tx, FILL, worker_id=first)
    assert startups.standing(tx, FILL) == Standing(True, "node@test/0")
    assert not startups.end(tx, FILL, worker_id=first)
    ended(tx, first)
    assert not startups.begin(tx, FILL, worker_id=second)  # it has run, whatever became of that worker


def test_another_worker_takes_the_place_of_one_that_is_gone(tx: Tx) -> None:
    first, second = registered(tx), registered(tx, process=1)
    assert startups.begin(tx, FILL, worker_id=first)
    ended(tx, first)
    assert startups.begin(tx, FILL, worker_id=second)
    assert not startups.end(tx, FILL, worker_id=first)  # it comes back too late
    assert startups.end(tx, FILL, worker_id=second)


def test_a_worker_that_has_lost_its_lease_cannot_end_it(tx: Tx) -> None:
    first = registered(tx)
    assert startups.begin(tx, FILL, worker_id=first)
    ended(tx, first)
    assert not startups.end(tx, FILL, worker_id=first)


@pytest.mark.parametrize(
    "other", [FILL._replace(release="1.1"), FILL._replace(application="bar"), FILL._replace(name="x")]
)
def test_each_release_application_and_function_has_its_own(tx: Tx, other: Startup) -> None:
    first, second = registered(tx), registered(tx, process=1)
    assert startups.begin(tx, FILL, worker_id=first)
    assert startups.begin(tx, other, worker_id=second)


@pytest.mark.parametrize("gone", [False, True])
def test_of_many_that_ask_at_once_one_gets_it(tx: Tx, opened: Callable[[], Tx], gone: bool) -> None:
    if gone:
        former = registered(tx)
        assert startups.begin(tx, FILL, worker_id=former)
        ended(tx, former)
    ids = [registered(tx, process=number) for number in range(6)]
    begin, got = threading.Barrier(len(ids)), []

    def ask(own: Tx, worker_id: int) -> None:
        begin.wait(30)
        if startups.begin(own, FILL, worker_id=worker_id):
            got.append(worker_id)

    threads = [threading.Thread(target=ask, args=(opened(), worker_id)) for worker_id in ids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(got) == 1


def test_those_of_former_releases_are_forgotten(tx: Tx) -> None:
    worker_id = registered(tx)
    for release in ("1", "2"):
        startups.begin(tx, FILL._replace(release=release), worker_id=worker_id)
        startups.end(tx, FILL._replace(release=release), worker_id=worker_id)
    alone = FILL._replace(name="alone")
    startups.begin(tx, alone, worker_id=worker_id)
    startups.end(tx, alone, worker_id=worker_id)
    rows(tx, "update lavoro.startup set ended_at = ended_at - interval '3 days' returning 1")
    workers.forget_old(tx, kept=None)
    assert len(rows(tx, "select from lavoro.startup")) == 3
    workers.forget_old(tx, kept=86_400.0)
    assert rows(tx, "select release, name from lavoro.startup order by 1") == [("1.0", "alone"), ("2", FILL.name)]
