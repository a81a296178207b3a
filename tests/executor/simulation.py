"""Runs canvases without a database: what the store does with places and follow-ups, in some lines."""

from __future__ import annotations

import random
import uuid
from functools import partial
from typing import Any

from lavoro import Lavoro
from lavoro.calling.outbox import composed
from lavoro.canvas import continuation
from lavoro.exceptions import ChordError
from lavoro.execution.executor import execute
from lavoro.execution.run_settings import RunSettings
from lavoro.protocol.message import Job, Message
from lavoro.protocol.outcome import Finished
from lavoro.serialization import dumps_exception, loads, loads_exception
from lavoro.states import FAILURE, SUCCESS


class Simulation:
    """Tasks wait, are held, and end in the order that ``seed`` decides; ``ended`` has the outcomes by id."""

    def __init__(self, app: Lavoro, seed: int = 0) -> None:
        self.app, self.random = app, random.Random(seed)
        self.waiting: list[tuple[Message, dict[str, int]]] = []
        self.held: dict[str, tuple[Message, dict[str, int]]] = {}
        self.remaining: dict[str, int] = {}
        self.members: dict[str, dict[int, Any]] = {}
        self.ended: dict[uuid.UUID, tuple[str, str | None]] = {}
        self.known: set[uuid.UUID] = set()
        self.settings = RunSettings("n", follow=partial(continuation.follow, app), gather=self.gather)

    def run(self, canvas: Any) -> Any:
        """Run a canvas to its end; return its result object."""
        with composed(self.app) as outbox:
            result = canvas.apply_async()
        self.store(outbox.messages)
        while self.waiting:
            self.work(*self.waiting.pop(self.random.randrange(len(self.waiting))))
        assert not self.held, self.held
        return result

    def value(self, id: str) -> Any:
        """The value of a task that has ended; raises its error."""
        state, text = self.ended[uuid.UUID(id)]
        if state != SUCCESS:
            raise loads_exception(loads(text or "null"))
        return loads(text or "null")

    def gather(self, barrier: str) -> list[Any]:
        return [value for _, value in sorted(self.members[barrier].items())]

    def store(self, messages: Any, heir: Any = None, inherited: dict[str, int] | None = None) -> None:
        for message in messages:
            assert message.id not in self.known, message
            self.known.add(message.id)
            place = message.place
            barriers = loads(place.barriers) if place is not None and place.barriers else {}
            barriers = {**barriers, **(inherited or {} if message.id == heir else {})}
            if place is None or place.held_for is None:
                self.waiting.append((message, barriers))
                continue
            barrier = str(place.held_for)
            assert barrier not in self.remaining, message
            self.remaining[barrier], self.members[barrier] = place.expects, {}
            self.held[barrier] = message, barriers

    def work(self, message: Message, barriers: dict[str, int]) -> None:
        job = Job(
            message.id, message.name, message.args, message.kwargs, message.options, message.payload, message.queue,
            message.priority, 1, 0, 0, None, None, False, False,  # type: ignore[arg-type]
        )  # fmt: skip
        outcome = execute(self.app.tasks[message.name], job, self.settings)
        assert isinstance(outcome, Finished)
        follow = outcome.follow
        if follow is not None and follow.replaced:
            self.known.discard(message.id)
        else:
            self.end(message.id, outcome.state, outcome.result)
        for id, _ in follow.never if follow is not None else ():
            self.known.add(id)
            self.end(id, outcome.state, outcome.result)
        heir = None if follow is None else follow.heir or (message.id if follow.replaced else None)
        self.store(follow.messages if follow is not None else (), heir, barriers)
        if heir is None:
            self.count(message.id, barriers, outcome.state, outcome.result)

    def end(self, id: uuid.UUID, state: str, result: str | None) -> None:
        assert id not in self.ended
        self.ended[id] = state, result

    def count(self, id: uuid.UUID, barriers: dict[str, int], state: str, result: str | None) -> None:
        for barrier, index in barriers.items():
            assert index not in self.members[barrier]
            self.members[barrier][index] = loads(result or "null")
            self.remaining[barrier] -= 1
            if state != SUCCESS and barrier in self.held:
                message, own = self.held.pop(barrier)
                error = dumps_exception(ChordError(f"Dependency {id} raised {result}"))
                self.end(message.id, FAILURE, error)
                for step, _ in continuation.never(loads(message.options or "{}")):
                    self.known.add(step)
                    self.end(step, FAILURE, error)
                self.count(message.id, own, FAILURE, error)
            elif not self.remaining[barrier] and barrier in self.held:
                self.waiting.append(self.held.pop(barrier))
