"""Scenarios with workers: they hold as they are, and the checker catches each mutant of the worker's code."""

from __future__ import annotations

import pytest

from tests.faults import scenarios
from tests.faults.scenarios import Scenario
from tests.faults.trial import Trial

pytestmark = pytest.mark.slow

SCENARIOS = [
    scenarios.lost_answers, scenarios.partition, scenarios.lost_notifications, scenarios.more_work_than_slots,
    scenarios.outage, scenarios.steady_work, scenarios.slow_tasks, scenarios.left_behind,
    scenarios.forks,
]  # fmt: skip
MUTANTS = [
    ("I1", "drops what it could not store", scenarios.lost_answers),
    ("I1", "never adopts", scenarios.lost_answers),
    ("I3", "finishes before it runs", scenarios.slow_tasks),
    ("I5", "never fences", scenarios.partition),
    ("I8", "never polls", scenarios.lost_notifications),
    ("I8", "waits for the end of the wire", scenarios.left_behind),
    ("I4", "lets forks live on", scenarios.forks),
    ("I11", "twice the slots", scenarios.more_work_than_slots),
    ("I12", "leaks connections", scenarios.steady_work),
    ("I13", "never backs off", scenarios.outage),
]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_scenario(trial: Trial, scenario: Scenario) -> None:
    found = scenario(trial)
    assert not found, "\n".join(map(str, [f"seed {trial.seed}", *found, trial.logs()[-8000:]]))


@pytest.mark.parametrize(
    ("invariant", "mutant", "scenario"), MUTANTS, ids=[mutant.replace(" ", "_") for _, mutant, _ in MUTANTS]
)
def test_mutant_is_caught(trial: Trial, invariant: str, mutant: str, scenario: Scenario) -> None:
    options = {"patience": 4} if scenario is scenarios.lost_answers else {}
    found = scenario(trial, mutants=[mutant], **options)
    caught = {violation.invariant for violation in found}
    # What a worker has forgotten it takes over again when its offers end: then it is not lost, and starts unrecorded.
    told = {invariant, "I4"} if mutant == "drops what it could not store" else {invariant}
    assert told & caught, f"{mutant} was not caught: {found}"
