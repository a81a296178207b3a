"""A worker that requires signatures runs what was sent with a key, and says why it did not run the rest."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lavoro import Lavoro
from lavoro.exceptions import SecurityError
from tests.worker.conftest import PATIENCE, StartWorker, rows
from tests.worker.signed import KEYS


@pytest.fixture
def signer(migrated_url: str) -> Iterator[Lavoro]:
    """An application that signs what it sends."""
    app = Lavoro("signer", broker=migrated_url, set_as_current=False, lavoro_signing_keys=KEYS)
    yield app
    app.close()


def test_only_what_is_signed_runs(start_worker: StartWorker, signer: Lavoro, sender: Lavoro, migrated_url: str) -> None:
    worker = start_worker("--grace", "600", app="tests.worker.signed", url=migrated_url)
    assert signer.send_task("add", [1, 2]).get(timeout=PATIENCE) == 3
    with signer.database.engine.connect() as session, signer.transaction(session):
        joined = signer.send_task("add", [2, 2], headers={"tone": "red"})
        session.commit()
    assert joined.get(timeout=PATIENCE) == 4

    unsigned = sender.send_task("add", [1, 2])
    sender.conf.lavoro_signing_keys = ["a key of another shop"]
    strange = sender.send_task("add", [1, 2])
    [(by_sql,)] = rows(sender, "select lavoro.enqueue('add', '[1, 2]')::text")
    for id, words in (
        (unsigned.id, "has no signature"),
        (strange.id, "not made with a key"),
        (by_sql, "(SQL has none)"),
    ):
        result = sender.AsyncResult(id)
        with pytest.raises(SecurityError, match=words.replace("(", r"\(").replace(")", r"\)")):
            result.get(timeout=PATIENCE)
        assert result.state == "FAILURE"
        worker.until(f"Task add[{id}] cannot be read and is set aside: ")

    sender.conf.lavoro_signing_keys = KEYS[1:]
    assert sender.send_task("add", [3, 4]).get(timeout=PATIENCE) == 7, "the key of last year is still taken"
    assert not any(key in worker.log for key in KEYS)
    assert worker.stop() == 0, "it holds nothing, so it does not wait"


def test_a_task_that_was_changed_after_it_was_sent(
    start_worker: StartWorker, signer: Lavoro, migrated_url: str
) -> None:
    changed = signer.send_task("add", [1, 2])
    moved = signer.send_task("add", [1, 3], queue="elsewhere")
    rows(signer, f"update lavoro.waiting set args = '[1, 1000000]' where id = '{changed.id}'")
    rows(signer, f"update lavoro.waiting set queue = 'celery' where id = '{moved.id}'")
    start_worker(app="tests.worker.signed", url=migrated_url)
    with pytest.raises(SecurityError, match="or the task was changed after it was sent"):
        changed.get(timeout=PATIENCE)
    assert moved.get(timeout=PATIENCE) == 4


def test_retries_are_signed_anew(start_worker: StartWorker, signer: Lavoro, migrated_url: str) -> None:
    start_worker(app="tests.worker.signed", url=migrated_url)
    result = signer.send_task("again", [1])
    x, tone, added = result.get(timeout=PATIENCE)
    assert (x, tone) == (2, "blue")
    assert signer.AsyncResult(added).get(timeout=PATIENCE) == 3


def test_many_are_signed_too(start_worker: StartWorker, migrated_url: str) -> None:
    from tests.worker.signed import add

    start_worker(app="tests.worker.signed", url=migrated_url)
    add.app.conf.broker_url = migrated_url
    results = add.delay_many([(number, 1) for number in range(20)])
    assert [result.get(timeout=PATIENCE) for result in results] == list(range(1, 21))
    add.app.close()
