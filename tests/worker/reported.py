"""The application of the tests of error reports: the receivers of the guide, and a transport that notes the events."""

from __future__ import annotations

import json
import re
import threading
from pathlib import Path
from typing import Any

import sentry_sdk
from sentry_sdk.envelope import Envelope
from sentry_sdk.transport import Transport

from tests.worker.app import app, note

GUIDE = Path(__file__).parents[2] / "docs/guides/migrate-from-celery.md"
both_run = threading.Barrier(2)


class Noting(Transport):
    """Writes events to the ledger instead of sending them."""

    def capture_envelope(self, envelope: Envelope) -> None:
        """Note one event."""
        event: Any = envelope.get_event()
        if event is not None:
            error = event["exception"]["values"][-1]
            shown = [error["type"], error["value"], event["transaction"], event["tags"]["task_id"], event["user"]["id"]]
            note("event", event["contexts"]["trace"]["trace_id"], json.dumps(shown))


sentry_sdk.init(dsn="http://key@localhost:1/1", transport=Noting)
found = re.search(r"^```python\n(# report\.py\n.*?)^```$", GUIDE.read_text(), flags=re.DOTALL | re.MULTILINE)
assert found is not None
exec(compile(found[1], "report.py", "exec"), report := {"__name__": "report"})  # the dict keeps the receivers alive


@app.task(name="break", throws=(KeyError,))
def fail(number: int) -> None:
    """Fail beside another one."""
    sentry_sdk.set_user({"id": number})
    both_run.wait(30)
    raise ValueError(number)


@app.task(name="send")
def send() -> list[str]:
    """Send the failing tasks; return the trace, then their ids."""
    results = [app.send_task("break", (number,)) for number in (1, 2)]
    return [str(sentry_sdk.get_traceparent()).partition("-")[0], *(result.id for result in results)]


@app.task(name="expected", throws=(KeyError,))
def expected() -> None:
    """Fail as it may."""
    raise KeyError("expected")
