"""Row 12: the primary dies, an asynchronous standby takes over without the last commits, workers go on there."""

from __future__ import annotations

import time

import psycopg
import pytest

from tests.faults.proxy import Proxy
from tests.faults.scenarios import port_of
from tests.faults.trial import Trial
from tests.postgres import Cluster, temporary_standby

pytestmark = pytest.mark.slow

REPLAYED = "select pg_last_wal_replay_lsn() >= %s::pg_lsn"


def test_failover_to_a_standby(own_trial: Trial, own_cluster: Cluster) -> None:
    """What the standby had is not lost; what it had not is, and nothing that was begun on it does harm."""
    with temporary_standby(own_cluster) as standby, Proxy(port_of(own_trial.url)) as proxy:
        own_trial.worker("-c", "4", url=proxy.url(own_trial.url), lease=10)
        producer = own_trial.producer(url=proxy.url(own_trial.url), kinds=("plain", "retry", "many", "eta"))
        held = producer.send("hold", own_trial.gate)
        for _ in range(40):
            producer.operate()
        own_trial.until(lambda: own_trial.starts(held) and own_trial.live() == 1, why="only this one runs")
        until_it_has(standby, own_trial)
        standby.stop()  # it sees nothing of what follows
        late = [producer.send("echo", number) for number in range(5)]
        own_trial.until(lambda: all(own_trial.starts(id) for id in late), why="they run on the primary")
        own_cluster.kill()
        standby.start()
        standby.promote()
        proxy.target = ("127.0.0.1", standby.port)
        proxy.cut()
        own_trial.url = own_trial.url.replace(str(own_cluster.port), str(standby.port))
        own_trial.open_gate()
        for _ in range(20):
            producer.operate()
        own_trial.until(lambda: own_trial.live() == 0, why="everything is over on the new primary")
        own_trial.stop()
        lost = {id for id in late if not own_trial.rows(f"select 1 from audit.transition where id = '{id}'")}
        assert lost == set(late)
        # Starts whose record was on the primary alone, of tasks that are known to both, cannot be accounted for.
        found = [v for v in own_trial.violations(lost_commits=frozenset(lost), slots=4) if v.id not in lost]
        assert found == []


def until_it_has(standby: Cluster, trial: Trial) -> None:
    """Return once the standby has replayed what the primary has written so far."""
    [[position]] = trial.rows("select pg_current_wal_insert_lsn()::text")
    deadline = time.monotonic() + 60
    with psycopg.connect(standby.socket_url(), autocommit=True) as connection:
        while connection.execute(REPLAYED.encode(), (position,)).fetchall() != [(True,)]:
            assert time.monotonic() < deadline, "the standby does not follow"
            time.sleep(0.05)
