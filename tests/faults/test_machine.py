"""A state machine on the real statements: claims, renewals, ends, losses, revokes in any order keep the invariants."""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from lavoro.protocol.message import Job
from lavoro.protocol.place import Place
from lavoro.store.workers import Ending
from tests.faults import canvases
from tests.faults.stage import MAX_CRASHES, Stage
from tests.postgres import Cluster

EMPTY = """
    truncate lavoro.waiting, lavoro.running, lavoro.finished, lavoro.attempt, lavoro.worker, audit.transition,
        lavoro.held, lavoro.barrier, lavoro.member, lavoro.unhandled"""
ANY = ["SUCCESS", "REVOKED", "FAILURE"]
WORKERS = st.integers(0, 2)
PICK = st.integers(0, 7)


@pytest.fixture
def url(cluster: Cluster, audited_template: str) -> Iterator[str]:
    """The URL of an empty database under audit."""
    name = cluster.create_database(template=audited_template)
    yield cluster.url(name)
    cluster.drop_database(name)


def test_any_order_of_actions(url: str) -> None:
    """Rows 46, 53 as a model: three workers that may be slow, mistaken, or gone."""

    class Machine(Workers):
        database = url

    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=25, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


class Workers(RuleBasedStateMachine):
    """Three workers, each of which remembers what it once held, whether it still does or not."""

    database = ""

    def __init__(self) -> None:
        super().__init__()
        with psycopg.connect(self.database, autocommit=True) as connection:
            connection.execute(EMPTY.encode())
        self.stage = Stage(self.database, Path(tempfile.mkdtemp(prefix="lavoro-machine-")))
        self.ids: list[int] = []
        self.held: list[tuple[int, Job, str]] = []
        """Worker, job, and the result that its start has ended with."""
        self.sent: list[str] = []

    @initialize()
    def begin(self) -> None:
        self.ids = [self.stage.worker() for _ in range(3)]

    @rule(number=st.integers(1, 3))
    def send(self, number: int) -> None:
        for _ in range(number):
            self.sent.append(self.stage.send(len(self.sent), detail={"expect": ANY}))

    @rule()
    def send_chord(self) -> None:
        """The body is among those that may be revoked, and may block others."""
        self.sent += canvases.send_chord(self.stage, fate=ANY, others=ANY, body=ANY)

    @precondition(lambda self: self.sent)
    @rule(which=PICK)
    def send_blocked(self, which: int) -> None:
        """A task waits for one that was sent before, wherever that is now."""
        blocker = self.sent[which % len(self.sent)]
        blocked = canvases.message(place=Place(None, None, 1, (uuid.UUID(blocker),)))
        self.stage.send_canvas([blocked], {blocked.id: {"expect": ANY, "awaits": [blocker]}})
        self.sent.append(str(blocked.id))

    @rule(who=WORKERS, limit=st.integers(1, 3))
    def claim(self, who: int, limit: int) -> None:
        worker = self.ids[who]
        for job in self.stage.claim(worker, limit=limit):
            assert (worker, job.id, job.attempt) not in {(w, j.id, j.attempt) for w, j, _ in self.held}
            self.held.append((worker, job, self.stage.end(job, self.stage.start(job, worker))))

    @precondition(lambda self: self.held)
    @rule(which=PICK)
    def finish(self, which: int) -> None:
        """Also long after it was lost: then it is refused."""
        worker, job, result = self.held[which % len(self.held)]
        holds = self._holds(worker, job)
        assert self.stage.finish(worker, job, result) == holds

    @precondition(lambda self: self.held)
    @rule(which=PICK)
    def retry(self, which: int) -> None:
        worker, job, _ = self.held[which % len(self.held)]
        self.stage.retry(worker, job)

    @rule(who=WORKERS, fenced=st.booleans())
    def die(self, who: int, fenced: bool) -> None:
        """A worker dies, and another takes its place; the dead one may still speak."""
        self.stage.rescue(self.ids[who], Ending.fenced("it was fenced") if fenced else Ending.expired("it was lost"))
        self.ids[who] = self.stage.worker()

    @rule(who=WORKERS)
    def run_out(self, who: int) -> None:
        """A lease runs out, and any node sees it."""
        query = "update lavoro.worker set expires_at = clock_timestamp() - interval '1 hour' where id = %s"
        self.stage.connection.execute(query, (self.ids[who],))
        assert self.stage.rescue_expired() == [self.ids[who]]
        self.ids[who] = self.stage.worker()

    @precondition(lambda self: self.sent)
    @rule(which=PICK)
    def revoke(self, which: int) -> None:
        self.stage.revoke(self.sent[which % len(self.sent)])

    @rule()
    def wait(self) -> None:
        self.stage.make_due()

    @invariant()
    def nobody_counts_too_much(self) -> None:
        both = "select crashes from lavoro.waiting union all select crashes from lavoro.finished"
        query = f"select max(crashes) from ({both}) tasks".encode()
        [[most]] = self.stage.connection.execute(query).fetchall()
        assert (most or 0) <= MAX_CRASHES

    def _holds(self, worker: int, job: Job) -> int:
        query = "select count(*) from lavoro.running where id = %s and worker_id = %s and attempt = %s"
        fence: tuple[Any, ...] = (job.id, worker, job.attempt)
        [[count]] = self.stage.connection.execute(query, fence).fetchall()
        return int(count)

    def teardown(self) -> None:
        """Everybody dies, one more worker runs what is left, and the checker looks at it all."""
        for worker in self.ids:
            self.stage.rescue(worker)
        self.stage.make_due()
        while self.stage.connection.execute("select from lavoro.waiting").fetchall():  # held tasks come later
            self.stage.run_to_the_end()
        found = self.stage.violations()
        self.stage.close()
        assert found == []
