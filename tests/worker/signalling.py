"""An application that notes each signal with its arguments, but `setup_logging`, which would replace the log."""

from __future__ import annotations

from typing import Any

from lavoro import Lavoro, Task, signals
from lavoro.config.absent import ABSENT
from lavoro.exceptions import Ignore, Reject
from tests.worker.app import note


def receive(signal: Any, sender: Any, **named: Any) -> None:
    note("sent", signal.name, *sorted(named))


for name, each in vars(signals).items():
    if isinstance(each, signals.Signal) and f"signals.{name}" not in ABSENT and name != "setup_logging":
        each.connect(receive, weak=False)

app = Lavoro("signalling")


class Failing(Task[..., Any]):
    abstract = True

    def on_failure(self, *about: Any) -> None:
        raise ValueError("a handler that fails")


@app.task(name="end", bind=True, base=Failing, max_retries=1)
def end(self: Any, how: str) -> None:
    if how == "retry" and self.request.retries == 0:
        raise self.retry(countdown=0)
    if how == "send":
        end.delay("return")
    if how == "ignore":
        raise Ignore
    if how == "reject":
        raise Reject("no")
    if how == "fail":
        raise ValueError("bad")
