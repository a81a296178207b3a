"""A job is read once, and a reading of it before the run changes nothing of the run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lavoro import Lavoro, serialization
from lavoro.execution.decode import decode
from lavoro.execution.executor import execute
from lavoro.protocol.outcome import Finished
from lavoro.protocol.signing import Keyring
from tests.executor.run import NODE, job_of

SETTINGS = NODE._replace(accept=frozenset({"application/x-counted"}))
app = Lavoro("decode", set_as_current=False)
counted: list[str] = []


@app.task(name="show")
def show(*args: object, **kwargs: object) -> list[object]:
    return [list(args), kwargs, show.request.args]


def read(data: object) -> object:
    counted.append("read")
    return serialization.loads(str(data))


@pytest.fixture(autouse=True)
def counting() -> Iterator[None]:
    """A serializer that counts how often it reads."""
    counted.clear()
    serialization.register("counted", serialization.dumps, read, "application/x-counted", "utf-8")
    yield
    serialization.unregister("counted")


JOB = job_of(
    show, args=None, options='{"content_type":"application/x-counted"}',
    payload=serialization.dumps([[1, [2]], {"password": "x"}]).encode(),
)  # fmt: skip


@pytest.mark.parametrize("before", [False, True])
def test_a_job_is_read_once(before: bool) -> None:
    ended = execute(show, JOB, SETTINGS, decode(JOB, SETTINGS) if before else None)
    assert isinstance(ended, Finished)
    assert (ended.state, counted) == ("SUCCESS", ["read"])


def test_a_receiver_that_changes_the_arguments_changes_nothing_of_the_run() -> None:
    call = decode(JOB, SETTINGS)
    request = call.request_at_receipt(show, SETTINGS)
    del request.args[:], request.kwargs["password"]
    request.update(task_id="other", hostname="elsewhere")
    ended = execute(show, JOB, SETTINGS, call)
    assert isinstance(ended, Finished)
    assert serialization.loads(ended.result or "") == [[1, [2]], {"password": "x"}, [1, [2]]]


def test_a_job_that_is_revoked_after_it_was_read_does_not_run() -> None:
    ended = execute(show, JOB._replace(revoked=True), SETTINGS, decode(JOB, SETTINGS))
    assert ended.state == "REVOKED"


def test_a_signature_is_verified_once_and_the_outcome_is_of_the_claimed_job() -> None:
    settings = SETTINGS._replace(keyring=Keyring(["a key of 16 signs"], required=True))
    job = Keyring(["a key of 16 signs"]).signed(JOB)
    call = decode(job, settings)
    ended = execute(show, job, settings._replace(keyring=Keyring(["another key, 16+"], required=True)), call)
    assert ended.state == "SUCCESS"
    assert ended.job is job
