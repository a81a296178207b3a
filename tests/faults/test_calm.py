"""Without faults: the rig itself works, and every task starts once."""

from __future__ import annotations

from tests.faults.trial import Trial


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
