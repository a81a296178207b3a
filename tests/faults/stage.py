"""A stage: workers and their tasks played step by step on the real statements, under the eyes of ledger and audit."""

from __future__ import annotations

import datetime as dt
import json
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import psycopg

from lavoro.protocol import outcome
from lavoro.protocol.message import Job, Message
from lavoro.protocol.place import Follow
from lavoro.store import tasks, workers
from lavoro.store.tasks import Lane
from lavoro.store.tx import Tx
from lavoro.store.workers import Ending, Registration, Rescue
from tests.faults.checker import check
from tests.faults.history import History, Rules, history
from tests.faults.ledger import Ledger, read, sha
from tests.faults.violation import Violation
from tests.store.walk import LONG_AGO, lane

MAX_CRASHES = 3


class Stage:
    """Every step is one statement of the store; what a producer or a task would witness is witnessed here."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        folder.mkdir(exist_ok=True)
        self.ledger, self._folder = Ledger(folder, "stage", sync=False), folder
        self.connection = psycopg.connect(url, autocommit=True)
        self.tx = Tx(self.connection, "lavoro")
        self.follow: Follow | None = None
        """What follows each task that is finished."""

    def let_inserts_lock(self) -> None:
        """Let each insert of a waiting task take an advisory lock of its own before: 1, 2, and so on."""
        self.connection.execute("""
            create sequence public.inserts;
            create function public.lock_insert() returns trigger language plpgsql as $$ begin
                perform pg_advisory_xact_lock(nextval('public.inserts'));
                return new;
            end $$;
            create trigger lock before insert on lavoro.waiting for each row execute function public.lock_insert()""")

    def another(self) -> Tx:
        """A second connection, to be closed with the stage."""
        connection = psycopg.connect(self.url, autocommit=True)
        return Tx(connection, "lavoro")

    # Producers

    def send(self, args: object = 1, **changes: Any) -> str:
        """Send a task as a producer does."""
        detail = changes.pop("detail", {})
        sent = Message(
            uuid.uuid4(), "echo", "celery", 0, 0, None, 0.0, None, None, json.dumps([args]), None, None, None
        )._replace(**changes)
        self.ledger.write("intent", id=str(sent.id), sha=sha(args), **detail)
        tasks.insert(self.tx, [sent])
        self.ledger.write("outcome", id=str(sent.id), outcome="ok")
        return str(sent.id)

    def send_canvas(self, messages: Sequence[Message], details: Mapping[uuid.UUID, Mapping[str, Any]]) -> None:
        """Send the tasks of a canvas in one transaction, each with what is to become of it."""
        for sent in messages:
            [args] = json.loads(sent.args or "[null]")
            self.ledger.write("intent", id=str(sent.id), sha=sha(args), **details.get(sent.id, {}))
        tasks.insert(self.tx, messages)
        for sent in messages:
            self.ledger.write("outcome", id=str(sent.id), outcome="ok")

    # Workers

    def worker(self, *, lease: float = 30.0, tx: Tx | None = None) -> int:
        """A worker with a lease."""
        registration = Registration("node@test", 0, "test", 4711, "threads", 4, ["celery"], "0.1.0", lease)
        return workers.register(tx or self.tx, registration)

    def claim(self, worker: int, *, limit: int = 100, tx: Tx | None = None, lanes: Sequence[Lane] = ()) -> list[Job]:
        """Claim what is due."""
        return tasks.claim(tx or self.tx, worker, lanes=lanes or [lane(bound=LONG_AGO)], limit=limit)

    def start(self, job: Job, worker: int) -> str:
        """A task's body begins."""
        token = uuid.uuid4().hex
        [received] = json.loads(job.args or "[null]")
        self.ledger.write("start", id=str(job.id), token=token, attempt=job.attempt, worker=worker, sha=sha(received))
        return token

    def end(self, job: Job, token: str) -> str:
        """A task's body ends well; return its result."""
        [received] = json.loads(job.args or "[null]")
        self.ledger.write("end", id=str(job.id), token=token, outcome="SUCCESS", sha=sha(received))
        return json.dumps({"token": token, "sha": sha(received)})

    def beat(self, job: Job, token: str) -> None:
        """A task's body shows that it goes on."""
        self.ledger.write("beat", id=str(job.id), token=token)

    def finish(self, worker: int, job: Job, result: str, *, tx: Tx | None = None) -> int:
        """Store a success."""
        return tasks.finish(tx or self.tx, worker, [outcome.succeeded(job, result, 0.1, follow=self.follow)])

    def retry(self, worker: int, job: Job, *, tx: Tx | None = None) -> int:
        """Store that the task is to be tried again."""
        return tasks.requeue(tx or self.tx, worker, [outcome.retrying(job, countdown=0.0, reason="again")])

    def release(self, worker: int, job: Job, *, tx: Tx | None = None) -> int:
        """Give a task back that was not started."""
        return tasks.requeue(tx or self.tx, worker, [outcome.released(job)])

    def rescue(self, worker: int, ending: Ending | None = None, *, tx: Tx | None = None) -> None:
        """End a worker and take what it held, as its supervisor or another node does."""
        tx, ending = tx or self.tx, ending or Ending.expired(f"worker {worker} was lost")
        with tx.connection.transaction():
            workers.rescue(tx, Rescue(worker, ending), max_crashes=MAX_CRASHES)

    def rescue_expired(self, *, tx: Tx | None = None, since: dt.datetime | None = None) -> list[int]:
        """Rescue whatever leases have run out, as every node does that has known the server's clock ``since``."""
        tx, found = tx or self.tx, list[int]()
        while True:
            with tx.connection.transaction():
                expired = workers.expire(tx, since=since)
                if expired is None:
                    return found
                workers.rescue(tx, Rescue(expired[0], Ending.expired("its lease expired")), max_crashes=MAX_CRASHES)
                found.append(expired[0])

    def revoke(self, id: str, *, tx: Tx | None = None) -> int:
        """Revoke a task."""
        return tasks.revoke(tx or self.tx, [uuid.UUID(id)], cancel='{"terminate": true}')

    def run_to_the_end(self) -> None:
        """Have a worker of one's own run everything that waits."""
        worker = self.worker()
        for job in self.claim(worker):
            self.finish(worker, job, self.end(job, self.start(job, worker)))

    def finish_all(self, worker: int, results: Sequence[tuple[Job, str]], *, tx: Tx) -> int:
        """Store many successes."""
        ends = [outcome.succeeded(job, result, 0.1, follow=self.follow) for job, result in results]
        return tasks.finish(tx, worker, ends)

    def rescue_everybody(self) -> None:
        """End all workers and take what they held."""
        held = self.connection.execute("select distinct worker_id from lavoro.running").fetchall()
        for (worker,) in held:
            self.rescue(worker)
        self.make_due()

    def until_it_waits_or(self, over: Callable[[], bool], *, count: int) -> None:
        """Return once so many sessions wait for a lock, or there is nothing to wait for."""
        query = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
        deadline = time.monotonic() + 60
        with psycopg.connect(self.url, autocommit=True) as connection:
            while not over() and connection.execute(query).fetchall()[0][0] < count:
                assert time.monotonic() < deadline, "nobody waits for a lock"
                time.sleep(0.002)

    def until_somebody_waits(self) -> None:
        """Return once a session of this database waits for a lock."""
        query = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
        deadline = time.monotonic() + 60
        with psycopg.connect(self.url, autocommit=True) as connection:
            while connection.execute(query).fetchall() == [(0,)]:
                assert time.monotonic() < deadline, "nobody waits for a lock"
                time.sleep(0.005)

    def until_nobody_runs(self, application: str) -> None:
        """Return once no session of that name runs a statement: what was given up has been done, or never will be."""
        query = (
            "select count(*) from pg_stat_activity where datname = current_database() and application_name = %s"
            " and state = 'active'"
        )
        deadline = time.monotonic() + 60
        while self.connection.execute(query, (application,)).fetchall() != [(0,)]:
            assert time.monotonic() < deadline, f"a statement of {application} goes on"
            time.sleep(0.005)

    def make_due(self) -> None:
        """Let what waits for later be due now."""
        self.connection.execute(
            "update lavoro.waiting set due_at = clock_timestamp() - interval '1 s' where due_at > now()"
        )

    # The checker

    def history(self, **rules: Any) -> History:
        """All that is known."""
        return history(self.url, read(self._folder), Rules(**rules))

    def violations(self, **rules: Any) -> list[Violation]:
        """What the checker finds."""
        return check(self.history(**rules))

    def close(self) -> None:
        """Give the connection back."""
        self.connection.close()
