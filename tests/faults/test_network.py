"""The network swallows, delays, cuts, and keeps sockets open whose other end is gone."""

from __future__ import annotations

import random
import time

import pytest

from tests.faults.proxy import Proxy
from tests.faults.scenarios import POLL, RESTING, RESTS, port_of
from tests.faults.trial import Trial
from tests.postgres import Cluster
from tests.worker.conftest import rows, sending_to

pytestmark = pytest.mark.slow

QUICK = RESTS | {
    "lavoro.store.inbox.PROBE": 1.0,
    "lavoro.worker.child.claimer.ANSWER": 1.0,
    "lavoro.worker.child.finisher.ANSWER": 1.0,
}
"""Deadlines that a test can wait for."""


def test_half_open_connections(trial: Trial) -> None:
    """Rows 15, 16: each connection in turn goes dead with its socket open; it is noticed, and the work goes on."""
    with Proxy(port_of(trial.url)) as proxy:
        worker = trial.worker(
            "-c", "2", url=proxy.url(trial.url), settings={"lavoro_poll_interval": POLL}, constants=QUICK
        )
        producer = trial.producer()
        for name in ("lavoro-listener", "lavoro-claimer", "lavoro-finisher", "lavoro-upkeep"):
            producer.send("echo", "before")
            trial.drain()
            assert proxy.freeze(name) == 1, name
            for number in range(3):
                producer.send("echo", number, promise=(RESTING * POLL + 10, f"a task while {name} is half-open"))
            trial.drain()
        worker.until("the listening connection was lost")
        assert worker.process.poll() is None
        trial.stop()
    trial.verify(slots=2)


def test_a_call_through_a_half_open_connection(
    cluster: Cluster, migrated_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 16: what a caller has in its pool goes dead with its socket open; the call goes on through another."""
    monkeypatch.setattr("lavoro.store.database.ANSWER", 1.0)
    with Proxy(cluster.port) as proxy, sending_to(proxy.url(migrated_url)) as app:
        app.send_task("add", [1, 2])
        assert proxy.freeze("lavoro") == 1
        late = app.send_task("add", [3, 4])
        assert app.AsyncResult(late.id).state == "PENDING"
        assert rows(app, "select count(*), count(distinct id) from lavoro.waiting") == [(2, 2)]


def test_a_bad_network(trial: Trial) -> None:
    """Rows 14, 16: for both ends, resets, delays, one-way silence, half-open sockets, one after the other."""
    dice = random.Random(trial.seed)
    with Proxy(port_of(trial.url)) as proxy:
        worker = trial.worker("-c", "4", url=proxy.url(trial.url), lease=20, constants=QUICK)
        settings = {"broker_connection_timeout": 2}
        producer = trial.producer(url=proxy.url(trial.url), kinds=("plain", "many", "retry", "eta"), **settings)
        producer.pause = 0.03
        producer.start()
        faults = [
            lambda: proxy.cut(reset=True), lambda: proxy.swallow("down"), lambda: setattr(proxy, "delay", 0.02),
            lambda: proxy.cut(), lambda: proxy.swallow("up"), lambda: proxy.freeze("lavoro-"),
        ]  # fmt: skip
        dice.shuffle(faults)
        for fault in faults:
            time.sleep(dice.uniform(0.3, 1))
            fault()
            time.sleep(dice.uniform(0.1, 1))
            proxy.heal()
        proxy.cut()  # the producer need not wait for its deadline
        producer.stop()
        trial.drain()
        assert worker.process.poll() is None
        trial.stop()
    known = trial.verify(slots=4)
    assert len(known.done) > 30
