"""A producer: sends tasks in every way there is, and writes down what it meant to do and what it knows of the end."""

from __future__ import annotations

import contextlib
import random
import threading
import uuid
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

import psycopg

from lavoro import Lavoro, chain, chord, signals
from lavoro.exceptions import LavoroError, OperationalError
from lavoro.protocol.ids import uuid7
from tests.faults.ledger import Ledger, sha

KINDS = (
    *["plain"] * 4, "many", "retry", "eta", "revoke", "committed", "rolled back", "savepoint", "chain", "chord",
    "blocked",
)  # fmt: skip


class Producer:
    """Sends tasks, one operation after the other; ``start`` does so in a thread until ``stop``."""

    def __init__(
        self, url: str, ledger: Ledger, *, seed: object, kinds: Sequence[str] = KINDS, **settings: Any
    ) -> None:
        self.app = Lavoro("producer", broker=url, set_as_current=False, **settings)
        self._url, self._ledger, self._kinds = url, ledger, kinds
        self._random = random.Random(f"{seed}:producer")
        self._enough = threading.Event()
        self._thread: threading.Thread | None = None
        self._echo = self.app.task(name="echo")(_echo)
        self._connection: psycopg.Connection | None = None
        self._doomed: deque[str] = deque()
        self.pause = 0.0
        """Seconds between two operations."""
        self.failed = 0
        """Operations that ended with an error of the database."""
        self.sent: list[str] = []
        """The ids of what was certainly stored."""

    # One operation

    def send(
        self, name: str = "echo", *args: object, expect: Sequence[str] = ("SUCCESS",),
        promise: tuple[float, str] | None = None, **options: Any,
    ) -> str:  # fmt: skip
        """Send one task that is known to be stored when this returns, and return its id.

        ``promise``: it must start within so many seconds, and why.
        """
        id = self._intend(list(args), expect=expect, **options.pop("detail", {}))
        if promise is not None:
            self._ledger.write("promise", id=id, within=promise[0], why=promise[1])
        with self._witnessed(id):
            self.app.send_task(name, list(args), task_id=id, **options)
        return id

    def operate(self) -> None:
        """Do one operation of a random kind; errors of the database end up in the ledger alone."""
        kind = self._random.choice(self._kinds)
        try:
            getattr(self, "_" + kind.replace(" ", "_"))()
        except (LavoroError, psycopg.Error):
            self.failed += 1

    def _plain(self) -> None:
        self.send("echo", self._payload())

    def _long(self) -> None:
        self.send("echo", self._payload(), self._random.uniform(0.2, 2))

    def _doom(self) -> None:
        """Send one that takes its time, and end the one before while it runs, if it does."""
        self._doomed.append(self.send("echo", self._payload(), 2.0, expect=("SUCCESS", "REVOKED")))
        if len(self._doomed) > 1:
            self.app.revoke(self._doomed.popleft(), terminate=True)

    def _retry(self) -> None:
        times = self._random.randint(1, 3)
        self.send("echo", self._payload(), 0.0, times, detail={"fail_times": times})

    def _eta(self) -> None:
        self.send("echo", self._payload(), countdown=self._random.uniform(0.1, 2))

    def _revoke(self) -> None:
        id = self.send("echo", self._payload(), 0.05, expect=("SUCCESS", "REVOKED"), countdown=0.2)
        self.app.revoke(id, terminate=self._random.random() < 0.5)

    def _many(self) -> None:
        """Many at once, in one transaction of ours: one of psycopg's pipelines and Lavoro's plural statement."""
        self._together([[number] for number in range(self._random.randint(2, 50))])

    def _crew(self) -> None:
        """Some that take their time, at once."""
        self._together([[number, self._random.uniform(0.5, 2)] for number in range(self._random.randint(2, 14))])

    def _together(self, calls: Sequence[list[Any]]) -> None:
        ids = [self._intend(args) for args in calls]
        with self._witnessed(*ids), self._transaction() as connection, self.app.transaction(connection):
            for args, id in zip(calls, ids, strict=True):
                self.app.send_task("echo", args, task_id=id)

    def _flood(self) -> None:
        """Hundreds in one statement, which makes their ids itself and is repeated when its answer is lost."""
        mark = uuid.uuid4().hex
        ids: list[str] = []

        def note(headers: dict[str, Any], body: Any, **_: Any) -> None:
            [payload, *_rest] = body[0]
            if isinstance(payload, dict) and payload.get("flood") == mark:
                ids.append(self._intend([payload], id=headers["id"]))

        signals.before_task_publish.connect(note, weak=False)
        try:
            with self._witnessed(among=ids):
                self._echo.delay_many([({"flood": mark, "n": n},) for n in range(self._random.randint(100, 600))])
        finally:
            signals.before_task_publish.disconnect(note)

    def _chain(self) -> None:
        """Some tasks, each of which is stored with the outcome of the one before."""
        steps = [self._payload() for _ in range(self._random.randint(2, 5))]
        ids = [self._intend([step]) for step in steps]
        with self._witnessed(*ids):
            chain(self._echo.si(step).set(task_id=id) for step, id in zip(steps, ids, strict=True)).apply_async()

    def _chord(self) -> None:
        """Some tasks, and one that starts when all have ended."""
        header = [self._payload() for _ in range(self._random.randint(1, 8))]
        ids, last = [self._intend([payload]) for payload in header], self._payload()
        body = self._intend([last], awaits=ids)
        members = [self._echo.si(payload).set(task_id=id) for payload, id in zip(header, ids, strict=True)]
        with self._witnessed(*ids, body):
            chord(members)(self._echo.si(last).set(task_id=body))

    def _blocked(self) -> None:
        """One that waits for some that were sent before: they wait, run or have ended, some of them badly."""
        blockers = self._random.sample(self.sent[-50:], min(3, len(self.sent)))
        id = self._intend(["blocked"], expect=("SUCCESS", "FAILURE"), awaits=blockers)
        with self._witnessed(id):
            self.app.send_task("echo", ["blocked"], task_id=id, blockers=blockers)

    def _committed(self) -> None:
        payload = self._payload()
        id = self._intend([payload])
        with self._witnessed(id), self._transaction() as connection:
            self.app.send_task("echo", [payload], task_id=id, connection=connection)

    def _rolled_back(self) -> None:
        payload = self._payload()
        id = self._intend([payload])
        with (
            self._witnessed(id, outcome="rolled back"),
            contextlib.suppress(_Changed),
            self._transaction() as connection,
        ):
            self.app.send_task("echo", [payload], task_id=id, connection=connection)
            raise _Changed

    def _savepoint(self) -> None:
        """One task inside of a savepoint that is rolled back, one beside it in the same transaction."""
        kept, dropped = self._intend(["kept"]), self._intend(["dropped"])
        with self._witnessed(dropped, outcome="rolled back"), self._witnessed(kept), self._transaction() as connection:
            self.app.send_task("echo", ["kept"], task_id=kept, connection=connection)
            with contextlib.suppress(_Changed), connection.transaction():
                self.app.send_task("echo", ["dropped"], task_id=dropped, connection=connection)
                raise _Changed

    def _payload(self) -> object:
        return {"n": self._random.randrange(2**60), "text": "ä\n\"'" * self._random.randrange(20)}

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[psycopg.Connection]:
        """A transaction of the caller's own; one connection for all of them, as long as it lives."""
        if self._connection is None or self._connection.closed:
            self._connection = psycopg.connect(self._url, connect_timeout=5)
        with self._connection.transaction():
            yield self._connection
        if self._connection.closed:  # psycopg does not commit then, and says nothing
            raise psycopg.OperationalError("the connection was lost before the commit")

    # Witness

    def _intend(
        self, args: list[Any], *, id: str | None = None, expect: Sequence[str] = ("SUCCESS",), **detail: Any
    ) -> str:
        # Each kind of id has a statement of its own.
        id = id or str(uuid7() if self._random.random() < 0.5 else uuid.uuid4())
        fingerprint = sha(args[0]) if args else None
        self._ledger.write("intent", id=id, expect=list(expect), sha=fingerprint, **detail)
        return id

    @contextlib.contextmanager
    def _witnessed(self, *ids: str, among: Sequence[str] = (), outcome: str = "ok") -> Any:
        """Write down what became of it: an error of the database leaves it open what was stored.

        ``among`` may fill until the end.
        """
        try:
            yield
        except (OperationalError, psycopg.Error) as error:
            # Whatever was to be rolled back is, when its connection is lost as well.
            known = outcome if outcome != "ok" else "unknown"
            for id in (*ids, *among):
                self._ledger.write("outcome", id=id, outcome=known, error=repr(error))
            raise
        except BaseException as error:
            for id in (*ids, *among):
                self._ledger.write("outcome", id=id, outcome="fail", error=repr(error))
            raise
        for id in (*ids, *among):
            self._ledger.write("outcome", id=id, outcome=outcome)
            if outcome == "ok":
                self.sent.append(id)

    # In a thread

    def start(self) -> None:
        """Send until ``stop``."""
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._enough.is_set():
            self.operate()
            if self.pause:
                self._enough.wait(self.pause)

    def stop(self) -> None:
        """Send no more."""
        self._enough.set()
        if self._thread is not None:
            self._thread.join(60)
            assert not self._thread.is_alive(), "the producer hangs"

    def close(self) -> None:
        """Stop, and give the connections back."""
        self.stop()
        if self._connection is not None:
            self._connection.close()
        self.app.close()


def _echo(payload: object, seconds: float = 0.0, fail_times: int = 0) -> None:
    """What the workers' task looks like from here."""


class _Changed(Exception):
    """The caller has changed its mind."""
