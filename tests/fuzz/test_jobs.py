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

from lavoro.compose import template
from lavoro.errors import ImproperlyConfigured
from lavoro.executor import Node, execute
from lavoro.ids import uuid7
from lavoro.message import Job
from lavoro.outcome import Finished, GivenBack
from lavoro.serialization import loads, loads_exception
from lavoro.signing import Keyring
from tests.fuzz import CASES
from tests.fuzz.app import app
from tests.fuzz.values import TASKS, as_json, name, options, payloads, text, value

CANARY = Path("fuzz-canary")
STATES = {"SUCCESS", "FAILURE", "RETRY", "REVOKED"}
pytestmark = [pytest.mark.timeout(7200), pytest.mark.filterwarnings("ignore:Generating overly large repr")]
fuzzed = settings(max_examples=CASES, suppress_health_check=list(HealthCheck))

jobs = st.builds(
    Job, id=st.builds(uuid7), name=st.sampled_from(TASKS), args=value.map(as_json), kwargs=value.map(as_json),
    options=options.map(as_json), payload=payloads(str(CANARY)), queue=st.just("celery"), priority=st.just(0),
    attempt=st.integers(1, 2**31), retries=st.integers(0, 2**31), crashes=st.integers(0, 3),
    due=st.just(dt.datetime(2030, 1, 1, tzinfo=dt.timezone.utc)), expires=st.none(), expired=st.booleans(),
    revoked=st.booleans(),
)  # fmt: skip
KEYS = ["a key of 16 signs"]
nodes = st.sampled_from([
    Node("fuzz"), Node("fuzz", accept=frozenset({"json", "msgpack"})), Node("fuzz", max_result_size=10),
    Node("fuzz", keyring=Keyring(KEYS)), Node("fuzz", keyring=Keyring(KEYS, required=True)),
])  # fmt: skip


@pytest.fixture(autouse=True, scope="module")
def settled() -> None:
    for task in app.tasks.values():
        task.settle()


@fuzzed
@given(jobs, nodes)
def test_a_job_becomes_an_outcome(job: Job, node: Node) -> None:
    outcome = execute(app.tasks[job.name], job, node)
    assert isinstance(outcome, (Finished, GivenBack))
    assert outcome.job.id == job.id
    assert outcome.state in STATES or outcome.state is None
    if isinstance(outcome, Finished) and outcome.state == "FAILURE":
        assert isinstance(loads_exception(loads(outcome.result or "")), BaseException)
    assert not CANARY.exists()


OPTIONS = [
    "countdown", "eta", "expires", "priority", "retries", "time_limit", "soft_time_limit", "headers", "task_id",
    "shadow", "serializer", "link", "unheard_of", "properties", "acks_late",
]  # fmt: skip
REFUSALS = (TypeError, ValueError, NotImplementedError, ImproperlyConfigured)
"""What says that something is wrong with a call, before anything is stored."""


@fuzzed
@given(
    name, st.lists(value, max_size=3), st.dictionaries(text, value), st.dictionaries(st.sampled_from(OPTIONS), value)
)
def test_a_call_is_sent_or_refused(name: str, args: list[Any], kwargs: dict[str, Any], given: dict[str, Any]) -> None:
    message = None
    with contextlib.suppress(*REFUSALS):
        message = template(app.conf, None, name, {"queue": "celery", **given}).message(args, kwargs)
    if message is not None:
        assert message.name == name
        json.loads(message.args or "null")


@fuzzed
@given(st.text() | st.binary())
def test_what_is_no_json_is_refused(text: str | bytes) -> None:
    with contextlib.suppress(ValueError):
        loads(text)


@fuzzed
@given(st.dictionaries(st.sampled_from(["exc_type", "exc_message", "exc_module"]), value))
def test_what_is_no_exception_becomes_one(given: dict[str, Any]) -> None:
    assert isinstance(loads_exception(given), BaseException)
