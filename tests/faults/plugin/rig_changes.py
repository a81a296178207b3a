"""What the rig changes in Lavoro's modules: fault points in the store, statements, mutants of the code, the clock.

LAVORO_RIG is JSON: ``{"seed": 1, "points": [...], "sql": [[name, mark, new], ...], "mutants": [...], "constants":
{"lavoro.module.NAME": value}, "skew": seconds}``.
"""

from __future__ import annotations

import json
import os
import random
import re
import sys
import time
from collections.abc import Callable
from typing import Any

Change = Callable[[Any], None]


def changes() -> dict[str, list[Change]]:
    """What is asked for, by the name of the module that it changes."""
    plan = json.loads(os.environ["LAVORO_RIG"])
    found: dict[str, list[Change]] = {}
    if plan.get("skew"):
        put_clock_wrong(plan["skew"])
    if plan.get("sql"):
        found.setdefault("lavoro.store.statements", []).append(lambda module: change_statements(module, plan["sql"]))
    for path, value in plan.get("constants", {}).items():
        name, _, constant = path.rpartition(".")
        found.setdefault(name, []).append(lambda module, of=constant, to=value: replace(module, of, to))
    if plan.get("points"):
        points = Points(plan["points"], f"{plan.get('seed', 0)}:{_role()}")
        found.setdefault("lavoro.store.tx", []).append(points.install)
    for name in plan.get("mutants", ()):
        for module, change in MUTANTS[name].items():
            found.setdefault(module, []).append(change)
    return found


def _role() -> str:
    """Supervisor, or which child: the same in each run, as process ids are not."""
    try:
        return f"child {json.loads(sys.argv[-1])['number']}"
    except (ValueError, KeyError, TypeError, IndexError):
        return "supervisor"


def put_clock_wrong(seconds: float) -> None:
    """Have time.time() of this process go wrong; gevent and Lavoro have no other clock of the wall."""
    right = time.time
    time.time = lambda: right() + seconds


# Statements


def change_statements(module: Any, changes: list[list[str]]) -> None:
    """Put other lines in the place of marked ones: [statement, mark, new line]."""
    for name, mark, new in changes:
        module.TEXTS[name] = with_another_line(module.TEXTS[name], mark, new)


def with_another_line(text: str, mark: str, new: str) -> str:
    """Return SQL with another line in the place of the one that ends with the mark, ``--@name``.

    A mark that is not there once is an error, so that no mutant goes stale.
    """
    changed, count = re.subn(rf"^.*--@{mark}$", lambda _: new, text, flags=re.MULTILINE)
    if count != 1:
        raise AssertionError(f"--@{mark} marks {count} lines of:\n{text}")
    return changed


# Fault points

FINISH = ["finish_task", "finish_tasks", "finish_link", "finish_and_follow"]
"""The statements that store outcomes: of one task, of a batch, of a step of a chain, of any that others follow."""


def _names(point: dict[str, Any], name: str) -> bool:
    """Return whether the statement is one of the point's."""
    statement = point.get("statement")
    return statement is None or name in ([statement] if isinstance(statement, str) else statement)


class Points:
    """Fault points at every statement of ``store/sql``: errors before and after it, delays, the end of the process.

    A point is ``{"statement": name, list of names, or null for all, "kind": kind, "rate": 0..1, "skip": n, "times": n,
    "seconds": s, "rows": n}``; with ``rows`` it acts after answers of at least so many rows.
    Kinds: "before" (the statement is not run), "after" (it is, and its answer is lost with the connection), "delay",
    "die" and "die after", and the name of a class of psycopg.errors, which the server is made to have raised.
    """

    def __init__(self, points: list[dict[str, Any]], seed: str) -> None:
        self._points, self._random = points, random.Random(seed)

    def install(self, module: Any) -> None:
        """Put classes with fault points in the place of those without."""
        module.Tx = self._faulty(module.Tx, module)

    def _faulty(self, base: Any, module: Any) -> Any:
        points = self
        assert callable(base.execute)
        assert callable(base.run_prepared)
        assert callable(base.send)

        class Faulty(base):  # type: ignore[misc]
            __slots__ = ()

            def execute(self, name: str, parameters: Any = None) -> Any:
                points.before(name, self.connection, module)
                answer = super().execute(name, parameters)
                points.after(name, self.connection, module, rows=answer.rowcount)
                return answer

            def run_prepared(self, name: str, values: Any, formats: Any, **how: Any) -> Any:
                points.before(name, self.connection, module)
                answer = super().run_prepared(name, values, formats, **how)
                points.after(name, self.connection, module, rows=answer.ntuples)
                return answer

            def send(self, name: str, parameters: Any) -> None:
                points.before(name, self.connection, module)
                super().send(name, parameters)

        return Faulty

    def _met(self, name: str, *, after: bool, rows: int = 0) -> list[dict[str, Any]]:
        """The points that act this time."""
        found = []
        for point in self._points:
            if not _names(point, name) or (point["kind"] in ("after", "die after")) != after:
                continue
            if self._random.random() >= point.get("rate", 1) or rows < point.get("rows", 0):
                continue
            if point.get("skip", 0) > 0:
                point["skip"] -= 1
            elif point.get("times", 1) > 0:
                if "times" in point:
                    point["times"] -= 1
                found.append(point)
        return found

    def before(self, name: str, connection: Any, module: Any) -> None:
        """Act before the statement."""
        for point in self._met(name, after=False):
            kind = point["kind"]
            if kind == "delay":
                time.sleep(self._random.uniform(0, point["seconds"]))
            elif kind == "die":
                os.kill(os.getpid(), 9)
            elif kind == "before":
                self._cut(connection, module, "before")
            else:
                raise getattr(module.psycopg.errors, kind)("the rig made this error")

    def after(self, name: str, connection: Any, module: Any, *, rows: int) -> None:
        """Act after the statement, which has been committed unless it is part of a longer transaction."""
        for point in self._met(name, after=True, rows=rows):
            if point["kind"] == "die after":
                os.kill(os.getpid(), 9)
            self._cut(connection, module, "after")

    @staticmethod
    def _cut(connection: Any, module: Any, when: str) -> None:
        connection.close()
        raise module.psycopg.OperationalError(f"the rig cut the connection {when} the statement")


# Mutants: one planted bug each


def replace(owner: Any, name: str, new: Any) -> Any:
    """Put another in the place of an attribute, which must be there: a mutant of what is gone proves nothing."""
    original = getattr(owner, name)
    setattr(owner, name, new)
    return original


def _never_fences(module: Any) -> None:
    replace(module.Leases, "_fence", lambda self: None)


def _never_guards(module: Any) -> None:
    replace(module.SelfFence, "start", lambda self: None)


def _drops_what_it_could_not_store(module: Any) -> None:
    """Takes an unknown commit for a failure."""

    def step(self: Any) -> float | None:
        batch = [self._outcomes.popleft() for _ in range(len(self._outcomes))]
        if not batch:
            return None
        try:
            self._store_or_explain(batch)
        except Exception:
            self._session.lose()
        self._in_flight.release(outcome.job for outcome in batch)
        return 0

    replace(module.Finisher, "step", step)


def _finishes_before_it_runs(module: Any) -> None:
    def early(self: Any, job: Any, slot: int, call: Any) -> None:
        self._finisher.put(module.outcome.succeeded(job, "null", 0.0))
        run(self, job, slot, call)

    run = replace(module.TaskRunner, "run", early)


def _never_adopts(module: Any) -> None:
    replace(module.tasks, "adopt", lambda tx, worker_id, *, known: [])


def _never_polls(module: Any) -> None:
    def supply(self: Any, tx: Any, limit: int) -> float | None:
        return 0 if original(self, tx, limit) == 0 else None

    original = replace(module.Claimer, "_supply", supply)


def _waits_for_the_end_of_the_wire(module: Any) -> None:
    """Takes a wire that is open for a process that lives."""

    def final_messages(self: Any) -> list[Any]:
        messages: list[Any] = []
        while (received := self.receive()) is not None:
            messages += received
        return messages

    replace(module.Pipe, "final_messages", final_messages)


def _twice_the_slots(module: Any) -> None:
    def start_twice(self: Any) -> None:
        self.slots *= 2
        start(self)

    start = replace(module.Pool, "start", start_twice)
    work = replace(module.Pool, "_work", lambda self, slot: work(self, slot % (self.slots // 2)))


def _leaks_connections(module: Any) -> None:
    kept: list[Any] = []

    def step(self: Any) -> float | None:
        kept.append(self._session._open())
        result: float | None = original(self)
        return result

    original = replace(module.Claimer, "step", step)


def _never_backs_off(module: Any) -> None:
    def step(self: Any) -> float | None:
        delay: float | None = original(self)
        return 0 if self.failures else delay

    original = replace(module.Service, "try_step", step)


def _lets_forks_live_on(module: Any) -> None:
    replace(module, "leave_fork", lambda error=None: None)


MUTANTS: dict[str, dict[str, Change]] = {
    "never fences": {"lavoro.worker.supervisor.leases": _never_fences, "lavoro.worker.child.self_fence": _never_guards},
    "drops what it could not store": {"lavoro.worker.child.finisher": _drops_what_it_could_not_store},
    "finishes before it runs": {"lavoro.worker.child.runner": _finishes_before_it_runs},
    "never adopts": {"lavoro.worker.child.claimer": _never_adopts},
    "never polls": {"lavoro.worker.child.claimer": _never_polls},
    "waits for the end of the wire": {"lavoro.worker.pipe": _waits_for_the_end_of_the_wire},
    "twice the slots": {"lavoro.worker.child.pools.base": _twice_the_slots},
    "leaks connections": {"lavoro.worker.child.claimer": _leaks_connections},
    "lets forks live on": {"lavoro.runtime.forking": _lets_forks_live_on},
    "never backs off": {"lavoro.runtime.service": _never_backs_off},
}
"""By name, which modules it changes and how."""
