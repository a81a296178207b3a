"""A producer: sends tasks in every way there is, and writes down what it meant to do and what it knows of the end."""

from __future__ import annotations

import contextlib
import random
import threading
import uuid
from collections.abc import Sequence
from typing import Any

import psycopg

from lavoro import Lavoro
from lavoro.errors import LavoroError, OperationalError
from lavoro.ids import uuid7
from tests.faults.ledger import Ledger, sha

KINDS = ("plain", "plain", "plain", "plain", "many", "retry", "eta", "revoke", "committed", "rolled back", "savepoint")


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
        self.pause = 0.0
        """Seconds between two operations."""
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
        with contextlib.suppress(LavoroError, psycopg.Error):
            getattr(self, "_" + kind.replace(" ", "_"))()

    def _plain(self) -> None:
        self.send("echo", self._payload())

    def _long(self) -> None:
        self.send("echo", self._payload(), self._random.uniform(0.2, 2))

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
        ids = [self._intend([number]) for number in range(self._random.randint(2, 50))]
        with self._witnessed(*ids), self._connect() as connection, self.app.transaction(connection):
            for number, id in enumerate(ids):
                self.app.send_task("echo", [number], task_id=id)

    def _committed(self) -> None:
        payload = self._payload()
        id = self._intend([payload])
        with self._witnessed(id), self._connect() as connection:
            self.app.send_task("echo", [payload], task_id=id, connection=connection)

    def _rolled_back(self) -> None:
        payload = self._payload()
        id = self._intend([payload])
        with self._witnessed(id, outcome="rolled back"), contextlib.suppress(_Changed), self._connect() as connection:
            self.app.send_task("echo", [payload], task_id=id, connection=connection)
            raise _Changed

    def _savepoint(self) -> None:
        """One task inside of a savepoint that is rolled back, one beside it in the same transaction."""
        kept, dropped = self._intend(["kept"]), self._intend(["dropped"])
        with self._witnessed(dropped, outcome="rolled back"), self._witnessed(kept), self._connect() as connection:
            self.app.send_task("echo", ["kept"], task_id=kept, connection=connection)
            with contextlib.suppress(_Changed), connection.transaction():
                self.app.send_task("echo", ["dropped"], task_id=dropped, connection=connection)
                raise _Changed

    def _payload(self) -> object:
        return {"n": self._random.randrange(2**60), "text": "ä\n\"'" * self._random.randrange(20)}

    def _connect(self) -> Any:
        return psycopg.connect(self._url, connect_timeout=5)

    # Witness

    def _intend(self, args: list[Any], *, expect: Sequence[str] = ("SUCCESS",), **detail: Any) -> str:
        id = str(uuid7() if self._random.random() < 0.5 else uuid.uuid4())  # each kind has a statement of its own
        fingerprint = sha(args[0]) if args else None
        self._ledger.write("intent", id=id, expect=list(expect), sha=fingerprint, **detail)
        return id

    @contextlib.contextmanager
    def _witnessed(self, *ids: str, outcome: str = "ok") -> Any:
        """Write down what became of it: an error of the database leaves it open what was stored."""
        try:
            yield
        except (OperationalError, psycopg.Error) as error:
            # Whatever was to be rolled back is, when its connection is lost as well.
            known = outcome if outcome != "ok" else "unknown"
            for id in ids:
                self._ledger.write("outcome", id=id, outcome=known, error=repr(error))
            raise
        except BaseException as error:
            for id in ids:
                self._ledger.write("outcome", id=id, outcome="fail", error=repr(error))
            raise
        for id in ids:
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
        self.app.close()


class _Changed(Exception):
    """The caller has changed its mind."""
