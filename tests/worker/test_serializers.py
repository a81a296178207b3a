"""What goes in and out: serializers that both ends allow, and results that the database refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from lavoro import Lavoro
from lavoro.exceptions import SecurityError
from tests.worker.conftest import PATIENCE, StartWorker, rows

PICKLED = "from tests.worker.app import app\napp.conf.accept_content = ['json', 'pickle']\n"


class Trace:
    """Leaves a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> object:
        return open, (self.path, "w")


def test_a_worker_that_does_not_accept_it(
    start_worker: StartWorker, sender: Lavoro, migrated_url: str, tmp_path: Path
) -> None:
    start_worker(url=migrated_url)
    refused = sender.send_task("add", [Trace(tmp_path / "trace"), 2], serializer="pickle")
    with pytest.raises(SecurityError, match=r"refused to decode 'pickle' content .*: accept_content allows json"):
        refused.get(timeout=PATIENCE)
    assert not (tmp_path / "trace").exists()
    lying = sender.send_task("add", [Trace(tmp_path / "trace"), 2], serializer="pickle", queue="aside")
    rows(sender, f"update lavoro.waiting set queue = 'celery', options = null where id = '{lying.id}'")
    with pytest.raises(ValueError, match="json content cannot be decoded"):
        lying.get(timeout=PATIENCE)
    assert not (tmp_path / "trace").exists()


def test_both_ends_say_so(start_worker: StartWorker, sender: Lavoro, migrated_url: str, tmp_path: Path) -> None:
    (tmp_path / "accepting.py").write_text(PICKLED)
    start_worker(app="accepting", url=migrated_url, environment={"PYTHONPATH": f"{tmp_path}:."})
    assert sender.send_task("add", [1, 2], serializer="pickle").get(timeout=PATIENCE) == 3
    assert sender.send_task("add", [1, 2]).get(timeout=PATIENCE) == 3


def test_a_result_that_the_database_refuses(start_worker: StartWorker, sender: Lavoro, migrated_url: str) -> None:
    """That task fails with the reason; those of the same batch are stored."""
    rows(sender, "alter table lavoro.finished add constraint unlucky check (result::text <> '13')")
    sent = [sender.send_task("add", [number, 1]) for number in range(30)]
    worker = start_worker(url=migrated_url)
    with pytest.raises(ValueError, match="the outcome of add cannot be stored: .*unlucky"):
        sent[12].get(timeout=PATIENCE)
    assert sent[12].state == "FAILURE"
    others = [result.get(timeout=PATIENCE) for number, result in enumerate(sent) if number != 12]
    assert others == [number for number in range(1, 31) if number != 13]
    worker.until(f"the outcome of add[{sent[12].id}] cannot be stored: ")
    assert rows(sender, "select count(*) from lavoro.attempt") == [(0,)]


def test_the_rest_of_a_chain_whose_outcome_the_database_refuses(
    start_worker: StartWorker, sender: Lavoro, migrated_url: str
) -> None:
    rows(sender, "alter table lavoro.finished add constraint unlucky check (result::text <> '13')")
    last = (sender.signature("add", (12, 1)) | sender.signature("add", (1,))).apply_async()
    start_worker(url=migrated_url)
    error = sender.AsyncResult(last.id).get(timeout=PATIENCE, propagate=False)
    assert str(error).startswith("the outcome of add cannot be stored: ")
