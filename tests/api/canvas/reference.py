"""Random canvases, and an evaluator that says what they give: without messages, signatures and rules of joining."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from lavoro import chain, chord, group


class Step(NamedTuple):
    """A task, and what it does."""

    tag: str
    fails: bool = False
    retries: int = 0
    becomes: Any = None
    """The plan that it is replaced by."""
    ignored: bool = False
    """Its result is not stored, unless a chord needs it."""
    immutable: bool = False
    link: Any = None
    """A plan that is called with its value."""
    errback: str | None = None
    """The tag of a task that is called once, if this one or what replaces it fails."""


Plan = tuple[Any, ...]
"""A step, ("chain", plans), ("group", plans) or ("chord", plans, body)."""


class Failure(Exception):
    """The error of a task, by its tag."""


class Reference:
    """Evaluates a plan; afterwards ``runs`` has the number of runs of each body."""

    def __init__(self) -> None:
        self.runs: Counter[str] = Counter()

    def value(self, plan: Plan, *args: Any, kept: bool = False) -> Any:
        """Return the value of a plan that is called with these arguments; raises ``Failure``.

        ``kept`` says that another task gets the value, so that it counts for nothing whether the result is ignored.
        """
        if isinstance(plan, Step):
            return self.value_of_step(plan, args, kept)
        kind, parts = plan[:2]
        if kind == "chain":
            parts = steps_of(parts)
            for part in parts:
                args = (self.value(part, *args, kept=kept or part is not parts[-1]),)
            return args[0]
        values, failure = [], None
        for part in parts:  # the others go on when one fails
            try:
                values.append(self.value(part, *args, kept=kept or kind == "chord"))
            except Failure as error:
                failure = failure or error
        if failure is None:
            return values if kind == "group" or plan[2] is None else self.value(plan[2], values, kept=kept)
        self.fail(plan if kind == "chord" else ("group", []))
        raise failure

    def value_of_step(self, step: Step, args: tuple[Any, ...], kept: bool) -> Any:
        """Return the value of a task, called with these arguments."""
        self.runs[step.tag] += 1 + step.retries
        try:
            if step.fails:
                raise Failure(step.tag)
            made = [step.tag, *(() if step.immutable else args)]
            value = self.value(step.becomes, kept=True) if step.becomes else made
        except Failure:
            self.fail(step)
            raise
        if step.link:
            with suppress(Failure):  # of another task
                self.value(step.link, value, kept=True)
        last = last_of(step)
        return None if isinstance(last, Step) and last.ignored and not kept else value

    def fail(self, plan: Plan) -> None:
        """Call the error callbacks of a task that has failed, or of those that a body begins with which cannot."""
        if isinstance(plan, Step):
            self.runs.update([plan.errback] if plan.errback else [])
        elif plan[0] == "chord":
            self.fail(plan[2] or ("group", []))
        else:
            for part in steps_of(plan[1])[:1] if plan[0] == "chain" else plan[1]:
                self.fail(part)


def steps_of(parts: Sequence[Plan]) -> list[Plan]:
    """Return the steps of a chain one after the other, those of chains and bodies among them.

    A group and the step behind it are a chord. A body of several tasks begins with None, which hands on the list.
    """
    flat: list[Plan] = []
    for part in parts:
        if part[0] == "chord":
            inner = steps_of([part[2]])
            flat += (
                [("chord", part[1], None), *inner] if inner[0][0] == "group" else [(*part[:2], inner[0]), *inner[1:]]
            )
        else:
            flat += steps_of(part[1]) if part[0] == "chain" else [part]
    steps: list[Plan] = []
    for step in reversed(flat):
        steps[:1] = [("chord", step[1], steps[0])] if steps and step[0] == "group" else [step, *steps[:1]]
    return steps


def last_of(plan: Plan) -> Plan:
    """Return the task or the group that gives the value of a plan."""
    if isinstance(plan, Step):
        return last_of(plan.becomes) if plan.becomes else plan
    return plan if plan[0] == "group" else last_of(plan[1][-1] if plan[0] == "chain" else plan[2])


def _ends_in_a_group(plan: Plan) -> bool:
    return not isinstance(plan, Step) and last_of(plan)[0] == "group"


def canvas_of(plan: Plan, key: str, tasks: Any) -> Any:
    """Make the signature of a plan, of the tasks ``step``, ``errback_here`` and ``errback_sent``."""
    if not isinstance(plan, Step):
        parts = [canvas_of(part, key, tasks) for part in plan[1]]
        if plan[0] == "chain":
            return chain(*parts)
        return group(parts) if plan[0] == "group" else chord(parts, canvas_of(plan[2], key, tasks))
    does: dict[str, Any] = {"fails": plan.fails, "retries": plan.retries}
    if plan.becomes:
        does["becomes"] = canvas_of(plan.becomes, key, tasks)
    made = (tasks.step.si if plan.immutable else tasks.step.s)(tag=plan.tag, key=key, **does)
    if plan.ignored:
        made.set(ignore_result=True)
    if plan.link:
        made.link(canvas_of(plan.link, key, tasks))
    if plan.errback:
        errback = tasks.errback_here if plan.errback.startswith("here") else tasks.errback_sent
        made.link_error(errback.s(tag=plan.errback, key=key))
    return made


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
            return self.step(depth)
        parts = [self.plan(depth - 1) for _ in range(self.random.randint(1 if kind == "chord" else 2, 3))]
        if kind == "chord":
            return kind, _flat(parts), _quiet(self.plan(depth - 1))
        return kind, _flat(parts) if kind == "group" else _plainly_joined(parts)

    def step(self, depth: int) -> Step:
        """Return a task that mostly returns, sometimes after retries, or that others replace or follow."""
        self.tags += 1
        number, rarely = self.tags, lambda: self.random.random() < 0.15
        becomes = self.plan(depth - 1) if depth and number != self.fails and rarely() else None
        return Step(
            f"t{number}",
            fails=number == self.fails,
            retries=self.random.randint(1, 2) if rarely() else 0,
            becomes=becomes,
            ignored=becomes is None and number != self.fails and rarely(),
            immutable=rarely(),
            link=self.plan(min(depth - 1, 1)) if depth and rarely() else None,
            errback=f"{self.random.choice(['here', 'sent'])}{number}" if self.random.random() < 0.3 else None,
        )


def _plainly_joined(parts: list[Plan]) -> list[Plan]:
    """Take error callbacks from steps of a chain where Celery's rules of joining decide who calls them.

    These are the groups, and the steps behind two groups or behind a body that ends in one: if a header before them
    fails, they cannot begin.
    """
    joined = [*parts[:1], *map(_quiet, parts[1:])]
    for number in range(1, len(parts)):
        plain = parts[number - 1][0] == "group" and not (number > 1 and _ends_in_a_group(parts[number - 2]))
        if _ends_in_a_group(parts[number - 1]) and not plain:
            joined[number] = _quiet(joined[number], inside=True)
    return joined


def _quiet(plan: Plan, inside: bool = False) -> Plan:
    """Take the error callbacks from a group that others may have to begin: their failure calls them by Celery's rules.

    These depend on how the groups of a chain were joined.
    """
    if isinstance(plan, Step):
        return plan._replace(errback=None) if inside else plan
    if plan[0] == "chord":
        return "chord", plan[1], _quiet(plan[2], inside)
    if plan[0] == "chain":
        return "chain", [_quiet(plan[1][0], inside), *plan[1][1:]]
    return "group", [_quiet(part, inside=True) for part in plan[1]]


def _flat(parts: list[Plan]) -> list[Plan]:
    """Put the members of groups in their place: groups inside of groups are one level."""
    return [
        each
        for part in parts
        for each in (_flat(part[1]) if not isinstance(part, Step) and part[0] == "group" else [part])
    ]
