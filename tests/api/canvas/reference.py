"""Random canvases, and an evaluator that says what they give: without messages, signatures and rules of joining."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

from lavoro import chain, chord, group

Plan = tuple[Any, ...]
"""("task", tag, fails), ("chain", plans), ("group", plans) or ("chord", plans, body)."""


class Failure(Exception):
    """The error of a task, by its tag."""


class Reference:
    """Evaluates a plan; afterwards ``runs`` has the number of runs of each task."""

    def __init__(self) -> None:
        self.runs: Counter[str] = Counter()

    def value(self, plan: Plan, *args: Any) -> Any:
        """Return the value of a plan that is called with these arguments; raises ``Failure``."""
        kind, parts = plan[0], plan[1]
        if kind == "task":
            self.runs[parts] += 1
            if plan[2]:
                raise Failure(parts)
            return [parts, *args]
        if kind == "chain":
            for part in parts:
                args = (self.value(part, *args),)
            return args[0]
        values, failure = [], None
        for part in parts:  # the others go on when one fails
            try:
                values.append(self.value(part, *args))
            except Failure as error:
                failure = failure or error
        if failure is not None:
            raise failure
        return values if kind == "group" else self.value(plan[2], values)


def canvas_of(plan: Plan, task: Any) -> Any:
    """Make the signature of a plan; the task takes ``tag`` and ``fails``."""
    if plan[0] == "task":
        return task.s(tag=plan[1], fails=plan[2])
    parts = [canvas_of(part, task) for part in plan[1]]
    if plan[0] == "chain":
        return chain(*parts)
    return group(parts) if plan[0] == "group" else chord(parts, canvas_of(plan[2], task))


class Maker:
    """Makes random plans, of which at most one task fails."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.tags = 0
        self.fails = self.random.randrange(1, 25)
        """The number of the task that fails, if there are so many."""

    def plan(self, depth: int = 3) -> Plan:
        """Return a plan of so many levels at the most."""
        kind = self.random.choice(["task", "chain", "group", "chord"] if depth else ["task"])
        if kind == "task":
            self.tags += 1
            return "task", f"t{self.tags}", self.tags == self.fails
        parts = [self.plan(depth - 1) for _ in range(self.random.randint(1 if kind == "chord" else 2, 3))]
        if kind == "chord":
            return kind, _flat(parts), self.plan(depth - 1)
        return kind, _flat(parts) if kind == "group" else parts


def _flat(parts: list[Plan]) -> list[Plan]:
    """Put the members of groups in their place: groups inside of groups are one level."""
    return [each for part in parts for each in (_flat(part[1]) if part[0] == "group" else [part])]
