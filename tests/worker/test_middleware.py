"""Middleware in workers of all pools: it runs where the task runs, within its limits."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from lavoro import Lavoro
from tests.conftest import Eventually
from tests.worker.conftest import PATIENCE, Worker, sending_to, workers


@pytest.fixture(scope="module", params=["gevent", "threads", "prefork", "solo"])
def pool(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def folder(pool: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp(pool)


@pytest.fixture(scope="module")
def worker(pool: str, folder: Path, module_url: str, eventually: Eventually) -> Iterator[Worker]:
    with workers(folder, eventually) as start:
        arguments = ["--processes", "1", "-c", "1"] if pool == "solo" else ["-c", "2"]
        yield start(
            "-P", pool, "--log-format", "json", *arguments, url=module_url, app="tests.worker.wrapped",
        )  # fmt: skip


@pytest.fixture
def sender(worker: Worker, module_url: str) -> Iterator[Lavoro]:
    with sending_to(module_url) as app:
        yield app


def test_arguments_values_and_hooks(sender: Lavoro) -> None:
    assert sender.send_task("add", [1]).get(timeout=PATIENCE) == ["wrapped", 12]


def test_a_middleware_that_hangs_is_interrupted(sender: Lavoro) -> None:
    assert sender.send_task("hangs").get(timeout=PATIENCE) == "interrupted: SoftTimeLimitExceeded"


def test_the_id_reaches_children_and_the_log(sender: Lavoro, worker: Worker) -> None:
    sent = sender.send_task("sends", headers={"request_id": "req-1"})
    id, child = sent.get(timeout=PATIENCE)[1]
    assert (id, sender.AsyncResult(child).get(timeout=PATIENCE)) == ("req-1", ["wrapped", "req-1"])
    worker.until("Task child[")
    worker.until("queries took")
    lines = [json.loads(line) for line in worker.log.splitlines() if line.startswith("{")]
    told = {line["message"].partition("[")[0] for line in lines if line.get("request_id") == "req-1"}
    assert told == {"Task sends", "Task child"}, "the lines of times and of outcomes"
    timed = [line for line in lines if "0 queries took" in line["message"] and line.get("task_id") == sent.id]
    assert [line["task_name"] for line in timed] == ["sends"]


def test_a_process_that_a_task_forks_does_not_reach_the_middleware(sender: Lavoro, folder: Path) -> None:
    _, pid = sender.send_task("forks").get(timeout=PATIENCE)
    lines = (folder / "ledger").read_text().splitlines()
    assert [line for line in lines if line.startswith("forks")] == [f"forks ended in {pid}"]
