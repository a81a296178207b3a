"""The signals that are sent, with the arguments that their table names."""

from __future__ import annotations

import json

from lavoro import Lavoro, signals
from lavoro.config.absent import ABSENT
from tests.conftest import Eventually
from tests.worker.conftest import PATIENCE, Ledger, StartWorker, rows

SENT = {
    name: signal
    for name, signal in vars(signals).items()
    if isinstance(signal, signals.Signal) and f"signals.{name}" not in ABSENT and name != "setup_logging"
}
"""The signals that this release sends, but the one that would replace the log."""


def test_each_signal_is_sent_with_the_arguments_of_its_table(
    start_worker: StartWorker, sender: Lavoro, migrated_url: str, ledger: Ledger, eventually: Eventually
) -> None:
    worker = start_worker("-P", "threads", "-c", "2", url=migrated_url, app="tests.worker.signalling")
    ends = {how: sender.send_task("end", [how]) for how in ("return", "retry", "send", "ignore", "reject", "fail")}
    sender.send_task("end", ["return"], expires=-1)
    sender.send_task("unheard of")
    damaged = json.dumps({"an": "object"})
    rows(sender, f"insert into lavoro.waiting (id, queue, name, args) "
                 f"values (gen_random_uuid(), 'celery', 'end', '{damaged}') returning 1")  # fmt: skip
    for result in ends.values():
        result.get(timeout=PATIENCE, propagate=False)

    def seen() -> dict[str, list[str]]:
        return {name: arguments for _, name, *arguments in ledger.lines("sent")}

    running = SENT.keys() - {"worker_shutting_down", "worker_process_shutdown", "worker_shutdown"}
    eventually(lambda: running <= seen().keys(), timeout=PATIENCE, why="all are sent")
    assert worker.stop() == 0
    assert seen() == {name: sorted(signal.providing_args) for name, signal in SENT.items()}
    assert {tuple(line) for line in ledger.lines("sent")} == {
        ("sent", name, *sorted(signal.providing_args)) for name, signal in SENT.items()
    }
