"""Fixtures of the fault suite."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lavoro.store.schema.migrate import migrate
from tests.faults.history import install_audit
from tests.faults.stage import Stage
from tests.faults.trial import Trial, seed_of
from tests.postgres import Cluster
from tests.stock import Stock
from tests.worker.conftest import StartWorker, start_worker

__all__ = ["start_worker"]


@pytest.fixture
def trial(
    cluster: Cluster, audited_template: str, tmp_path: Path, start_worker: StartWorker, request: pytest.FixtureRequest
) -> Iterator[Trial]:
    """A trial on the shared server, in a database of its own."""
    name = cluster.create_database(template=audited_template)
    yield from _trial(Trial(cluster.url(name), tmp_path, start_worker, seed=seed_of(request.node.nodeid)))
    cluster.drop_database(name)


@pytest.fixture
def own_trial(
    own_cluster: Cluster, tmp_path: Path, start_worker: StartWorker, request: pytest.FixtureRequest
) -> Iterator[Trial]:
    """A trial on a server of its own, which may be stopped and killed."""
    url = own_cluster.url(own_cluster.create_database())
    trial = Trial(url, tmp_path, start_worker, seed=seed_of(request.node.nodeid))
    trial.prepare()
    yield from _trial(trial)


def _trial(trial: Trial) -> Iterator[Trial]:
    yield trial
    for producer in trial.producers:
        producer.close()


@pytest.fixture(scope="session")
def audited_template(cluster: Cluster) -> str:
    """The name of a database with Lavoro's tables under audit, to be copied."""
    name = cluster.create_database()
    migrate(cluster.url(name))
    install_audit(cluster.url(name))
    cluster.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
    cluster.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
    return name


@pytest.fixture(scope="session")
def audited_stock(cluster: Cluster, audited_template: str) -> Stock:
    """The databases under audit that tests take in turn."""
    return Stock(cluster, audited_template)


@pytest.fixture
def stage(cluster: Cluster, audited_stock: Stock, tmp_path: Path) -> Iterator[Stage]:
    """A stage on the shared server, in a database of its own."""
    name = audited_stock.take()
    stage = Stage(cluster.url(name), tmp_path / "stage")
    yield stage
    stage.close()
    audited_stock.give_back(name)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give scenarios time: they wait for leases and restarts, also on machines that have better things to do."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.timeout(300))
