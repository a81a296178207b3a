"""Another serializer works when both ends say so; else not one byte of it is decoded."""

from __future__ import annotations

from pathlib import Path

import pytest

from lavoro import Lavoro
from lavoro.errors import SecurityError
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
