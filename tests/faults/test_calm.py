"""Without faults: the rig itself works, and every task starts once."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

from tests.faults.trial import Trial

CONSTANT = re.compile(r'"(lavoro\.[\w.]+\.[A-Z_]+)"')


def test_a_run_without_faults(trial: Trial) -> None:
    """Every kind of call; the checker finds nothing, and has looked at something."""
    trial.worker("-c", "10")
    producer, rest = trial.producer(), trial.producer(kinds=("flood", "doom"))
    for _ in range(150):
        producer.operate()
    for _ in range(8):
        rest.operate()
    trial.drain()
    trial.stop()
    known = trial.verify(fault_free=True, slots=10)
    stories = known.stories()
    assert len(producer.sent) > 150
    assert len(rest.sent) > 200
    assert all(stories[id].transitions and stories[id].done for id in (*producer.sent, *rest.sent))
    assert sum(len(story.starts) > 1 for story in stories.values()) > 5  # retries


def test_what_the_rig_changes_exists() -> None:
    """A worker that cannot be changed does not start; rounds that start theirs without waiting would tell nothing."""
    found = {name for path in Path(__file__).parent.glob("*.py") for name in CONSTANT.findall(path.read_text())}
    assert len(found) > 3
    for name in found:
        module, _, constant = name.rpartition(".")
        assert hasattr(import_module(module), constant), name
