"""A process that is killed at any statement of a canvas changes nothing about its end."""

from __future__ import annotations

from typing import Any

import pytest

from lavoro import Lavoro, chain, chord, group, signature
from tests.faults.plugin.rig_changes import FINISH
from tests.faults.trial import Trial

STATEMENTS: list[Any] = ["claim_tasks", FINISH, "finish_and_follow", "gather_small", "gather_members"]
"""Those that a child runs for a canvas."""
EACH = [pytest.param(each, marks=() if each == "finish_and_follow" else pytest.mark.slow) for each in STATEMENTS]
WORDS = {"gather_members": "first" * 3000}
"""What members return: small results are read with the claim of the body, larger ones at its start."""
LEASE = 1.5


def echo(app: Lavoro) -> Any:
    return signature("echo", app=app)


def mixed(app: Lavoro, word: str = "first") -> Any:
    """A chain into a chord of a chain and tasks, whose body goes on."""
    one = echo(app)
    header = [one.clone() | one.clone(), one.clone(), one.clone()]
    return chain(one.clone((word,)), chord(header, one.clone()), one.clone())


def payload(value: Any) -> Any:
    """The arguments that tasks have handed on, without what tells their runs apart."""
    if isinstance(value, dict):
        return [payload(value["payload"])]
    return [payload(each) for each in value] if isinstance(value, list) else value


def expected(word: str) -> Any:
    first = [word]
    return [[[[[first]], [first], [first]]]]


@pytest.mark.parametrize("kind", ["die", "die after"])
@pytest.mark.parametrize("statement", EACH)
def test_a_child_killed_at_a_statement_of_a_canvas(trial: Trial, statement: str, kind: str) -> None:
    """Before it, or after it is committed: the result is the same, and each task has one outcome."""
    with Lavoro("sender", broker=trial.url, set_as_current=False) as app:
        word = WORDS.get(str(statement), "first")
        blocked = [mixed(app, word).apply_async() for _ in range(2)]
        last = app.send_task("echo", ("last",), blockers=blocked)
        points = [{"statement": statement, "kind": kind, "times": 1, "rows": int(kind == "die after")}]
        doomed = trial.worker("-c", "2", lease=LEASE, points=points)
        doomed.until("was ended by signal 9")
        doomed.destroy()  # its next child would meet the same end
        trial.worker("-c", "2", lease=LEASE)
        assert [payload(result.get(timeout=60)) for result in blocked] == [expected(word)] * 2
        assert payload(last.get(timeout=60)) == ["last"]
        trial.drain()
    ends = "select count(*), count(distinct id), count(*) filter (where state <> 'SUCCESS') from lavoro.finished"
    assert trial.rows(ends) == [(15, 15, 0)]
    assert trial.rows("select count(*) from lavoro.held") == [(0,)]
    assert trial.rows("select count(*) from lavoro.barrier where ended_at is null or remaining <> 0") == [(0,)]
    trial.stop()


@pytest.mark.parametrize("kind", ["before", "after"])
@pytest.mark.parametrize("statement", EACH)
def test_a_lost_answer_changes_nothing(trial: Trial, statement: str, kind: str) -> None:
    points = [{"statement": statement, "kind": kind, "times": 1, "skip": skip} for skip in (0, 2)]
    with Lavoro("sender", broker=trial.url, set_as_current=False) as app:
        trial.worker("-c", "2", points=points)
        word = WORDS.get(str(statement), "first")
        result = group(mixed(app, word), mixed(app, word)).apply_async()
        assert payload(result.get(timeout=60)) == [expected(word)] * 2
        trial.drain()
    assert trial.rows("select count(*), count(distinct id) from lavoro.finished") == [(14, 14)]
    trial.stop()
