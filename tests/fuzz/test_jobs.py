"""Whatever a row holds, running it gives an outcome, and runs nothing but the task it names."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lavoro.calling.message_builder import message_builder
from lavoro.exceptions import ImproperlyConfigured
from lavoro.execution.executor import execute
from lavoro.execution.run_settings import RunSettings
from lavoro.protocol.ids import uuid7
from lavoro.protocol.message import Job
from lavoro.protocol.outcome import Finished, Requeued
from lavoro.protocol.signing import Keyring
from lavoro.serialization import loads, loads_exception
from tests.fuzz import CASES, TOGETHER
from tests.fuzz.app import app
from tests.fuzz.values import TASKS, as_json, crowds, name, options, payloads, text, value

pytestmark = pytest.mark.slow

CANARY = Path("fuzz-canary")
STATES = {"SUCCESS", "FAILURE", "RETRY", "REVOKED"}
pytestmark = [pytest.mark.timeout(7200), pytest.mark.filterwarnings("ignore:Generating overly large repr")]
fuzzed = settings(max_examples=max(1, CASES // TOGETHER), suppress_health_check=list(HealthCheck))


def a_job(node: RunSettings, **parts: Any) -> tuple[Job, RunSettings]:
    due = dt.datetime(2030, 1, 1, tzinfo=dt.timezone.utc)
    return Job(id=uuid7(), queue="celery", priority=0, due=due, expires=None, **parts), node


KEYS = ["a key of 16 signs"]
nodes = st.sampled_from([
    RunSettings("fuzz"), RunSettings("fuzz", accept=frozenset({"json", "msgpack"})),
    RunSettings("fuzz", max_result_size=10),
    RunSettings("fuzz", keyring=Keyring(KEYS)), RunSettings("fuzz", keyring=Keyring(KEYS, required=True)),
])  # fmt: skip


jobs = crowds(
    a_job, size=TOGETHER, node=nodes, name=st.sampled_from(TASKS), args=value.map(as_json), kwargs=value.map(as_json),
    options=options.map(as_json), payload=payloads(str(CANARY)), attempt=st.integers(1, 2**31),
    retries=st.integers(0, 2**31), crashes=st.integers(0, 3), expired=st.booleans(), revoked=st.booleans(),
)  # fmt: skip


@pytest.fixture(autouse=True, scope="module")
def settled() -> None:
    for task in app.tasks.values():
        task.__settle__()


@fuzzed
@given(jobs)
def test_a_job_becomes_an_outcome(crowd: list[tuple[Job, RunSettings]]) -> None:
    for job, node in crowd:
        outcome = execute(app.tasks[job.name], job, node)
        assert isinstance(outcome, (Finished, Requeued)), job
        assert outcome.job.id == job.id, job
        assert outcome.state in STATES or outcome.state is None, job
        if isinstance(outcome, Finished) and outcome.state == "FAILURE":
            assert isinstance(loads_exception(loads(outcome.result or "")), BaseException), job
        assert not CANARY.exists(), job


OPTIONS = [
    "countdown", "eta", "expires", "priority", "retries", "time_limit", "soft_time_limit", "headers", "task_id",
    "shadow", "serializer", "link", "unheard_of", "properties", "acks_late",
]  # fmt: skip
REFUSALS = (TypeError, ValueError, NotImplementedError, ImproperlyConfigured)
"""What says that something is wrong with a call, before anything is stored."""
calls = crowds(
    dict, size=TOGETHER, name=name, args=st.lists(value, max_size=3), kwargs=st.dictionaries(text, value),
    given=st.dictionaries(st.sampled_from(OPTIONS), value),
)  # fmt: skip


@fuzzed
@given(calls)
def test_a_call_is_sent_or_refused(crowd: list[dict[str, Any]]) -> None:
    for call in crowd:
        message = None
        with contextlib.suppress(*REFUSALS):
            builder = message_builder(app.conf, None, call["name"], {"queue": "celery", **call["given"]})
            message = builder.build(call["args"], call["kwargs"])
        if message is not None:
            assert message.name == call["name"], call
            json.loads(message.args or "null")


def some_text(first: str, second: str, third: bytes, raw: bool) -> str | bytes:
    return first.encode(errors="replace") + third if raw else first + second


piece = st.text() | value.map(json.dumps) | st.sampled_from(['{"__type__":"', '"}', "[", '"__value__":', "{", "\ufeff"])
texts = crowds(some_text, size=TOGETHER, first=piece, second=piece, third=st.binary(), raw=st.booleans())


@fuzzed
@given(texts)
def test_what_is_no_json_is_refused(crowd: list[str | bytes]) -> None:
    for some in crowd:
        with contextlib.suppress(ValueError):
            loads(some)


@fuzzed
@given(crowds(dict, size=TOGETHER, exc_type=value, exc_message=value, exc_module=value))
def test_what_is_no_exception_becomes_one(crowd: list[dict[str, Any]]) -> None:
    for damaged in crowd:
        for missing in ((), ("exc_type",), ("exc_message", "exc_module")):
            found = {key: part for key, part in damaged.items() if key not in missing}
            assert isinstance(loads_exception(found), BaseException), found
