"""Random canvases run without a database as the reference says, whatever the order of their tasks."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from lavoro import Lavoro
from lavoro.exceptions import ChordError
from lavoro.result import GroupResult
from tests.api.canvas.reference import Failure, Maker, Plan, Reference, Step, canvas_of
from tests.executor.simulation import Simulation


@pytest.mark.parametrize("seed", range(400))
def test_random_canvases(app: Lavoro, seed: int) -> None:
    reference, runs, replaces = Reference(), Reference().runs, seed % 4 == 3

    @app.task(name="step")
    def run(*args: Any, tag: str, fails: bool, **more: Any) -> Any:
        runs[tag] += 1
        if fails:
            raise Failure(tag)
        return [tag, *args]

    @app.task(name="replaced", bind=True)
    def replaced(self: Any, *args: Any, **kwargs: Any) -> Any:
        return self.replace(run.s(*args, **kwargs))

    plan = plain(Maker(seed).plan())
    simulation = Simulation(app, seed)
    result = simulation.run(canvas_of(plan, "key", SimpleNamespace(step=replaced if replaces else run)))
    try:
        value = reference.value(plan)
    except Failure as failure:
        with pytest.raises((Failure, ChordError), match=str(failure)):
            value_of(simulation, result)
    else:
        assert value_of(simulation, result) == value
    assert runs == reference.runs


def plain(plan: Plan) -> Plan:
    """Leave away what the simulation knows nothing of: retries, callbacks, and results that are ignored."""
    if isinstance(plan, Step):
        return Step(plan.tag, fails=plan.fails, immutable=plan.immutable)
    return (plan[0], [plain(part) for part in plan[1]], *map(plain, plan[2:]))


def value_of(simulation: Simulation, result: Any) -> Any:
    if isinstance(result, GroupResult):
        return [value_of(simulation, each) for each in result.results]
    return simulation.value(result.id)
